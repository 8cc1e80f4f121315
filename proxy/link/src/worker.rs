//! Which worker the current thread is.
//!
//! Each worker thread drives its own runtime and keeps its own connections, so that no lock is contended
//! and a call never leaves the core that accepted it. The thread that starts a worker names it once.

use std::cell::Cell;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// Names the current thread as worker `index`, counted from 0.
pub fn set_index(index: usize) {
    INDEX.set(index);
}

/// The index of the worker that the current thread is; 0 if nobody named it.
#[must_use]
pub fn index() -> usize {
    INDEX.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_the_index_it_was_given() {
        set_index(3);
        assert_eq!(index(), 3);
        assert_eq!(std::thread::spawn(index).join().unwrap(), 0);
    }
}
