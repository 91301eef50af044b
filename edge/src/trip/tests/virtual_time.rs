//! Time that passes only while everybody waits for it, in microseconds: whatever is tried in it comes out the same each time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::mem::replace;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use shared::time::Timestamp;

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct Parts {
    now_us: Cell<u64>,
    /// Until when whoever acts at the moment wants to wait.
    wanted_us: Cell<u64>,
    last: Cell<u64>,
    /// By when it goes on; those of one instant in the order in which they began to wait.
    waiting: RefCell<BTreeMap<(u64, u64), Task>>,
}

/// All who act, and their clock.
#[derive(Clone, Default)]
pub(super) struct Stage(Rc<Parts>);

impl Stage {
    pub(super) fn now_us(&self) -> u64 {
        self.0.now_us.get()
    }

    pub(super) fn now(&self) -> Timestamp {
        super::now().plus_ms(self.now_us().div_euclid(1_000))
    }

    /// One more who acts. It may wait for time and for nothing else.
    pub(super) fn begin(&self, task: impl Future<Output = ()> + 'static) {
        self.put(self.now_us(), Box::pin(task));
    }

    pub(super) async fn wait(&self, us: u64) {
        let (until, mut has_waited) = (self.now_us() + us, false);
        poll_fn(|_| {
            if replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            self.0.wanted_us.set(until);
            Poll::Pending
        })
        .await;
    }

    /// Goes on until nobody acts any more, or until then.
    pub(super) fn run(&self, until_us: u64) {
        loop {
            let next = self.0.waiting.borrow_mut().pop_first();
            let Some(((at, _), mut task)) = next.filter(|((at, _), _)| *at <= until_us) else { break };
            self.0.now_us.set(at);
            if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                self.put(self.0.wanted_us.get(), task);
            }
        }
        self.0.waiting.borrow_mut().clear();
    }

    fn put(&self, at: u64, task: Task) {
        self.0.last.set(self.0.last.get() + 1);
        self.0.waiting.borrow_mut().insert((at, self.0.last.get()), task);
    }
}
