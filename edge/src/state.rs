//! What a worker remembers between calls, where no standard library says what a thread's own is: a worker has one.
//!
//! It must never wait: a call that finds a state taken has called itself, and that panics.

use atomic_refcell::AtomicRefCell;

/// One value, which is made when it is first asked for.
#[derive(Debug)]
pub(crate) struct State<T>(AtomicRefCell<Option<T>>);

impl<T: Default> State<T> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicRefCell::new(None))
    }

    /// Puts a value in the place of the old one.
    pub(crate) fn set(&self, value: T) {
        *self.0.borrow_mut() = Some(value);
    }

    /// Reads it. `f` may read it again, but must not change it.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        if self.0.borrow().is_none() {
            self.set(T::default());
        }
        let state = self.0.borrow();
        match &*state {
            Some(state) => f(state),
            None => f(&T::default()),
        }
    }

    /// Changes it. `f` must not ask for it again.
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(self.0.borrow_mut().get_or_insert_default())
    }
}
