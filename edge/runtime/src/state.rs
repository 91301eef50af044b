//! What a worker remembers between calls, where no standard library says what a thread's own is: a worker has one.
//!
//! It must never wait: a call that finds a state taken has called itself, and that panics.

use atomic_refcell::{AtomicRef, AtomicRefCell, AtomicRefMut};

/// One value, which is made when it is first asked for.
#[derive(Debug)]
pub struct State<T>(AtomicRefCell<Option<T>>);

impl<T> State<T> {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "a `static` is made of a constant")]
    pub const fn new() -> Self {
        Self(AtomicRefCell::new(None))
    }
}

impl<T: Default> State<T> {
    /// Puts a value in the place of the old one.
    pub fn set(&self, value: T) {
        *self.0.borrow_mut() = Some(value);
    }

    /// Reads it. `f` may read it again, but must not change it.
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.read())
    }

    /// Changes it. `f` must not ask for it again.
    pub fn with_mut<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.write())
    }

    #[inline(never)]
    fn read(&self) -> AtomicRef<'_, T> {
        loop {
            if let Some(state) = AtomicRef::filter_map(self.0.borrow(), Option::as_ref) {
                return state;
            }
            self.set(T::default());
        }
    }

    #[inline(never)]
    fn write(&self) -> AtomicRefMut<'_, T> {
        AtomicRefMut::map(self.0.borrow_mut(), Option::get_or_insert_default)
    }
}
