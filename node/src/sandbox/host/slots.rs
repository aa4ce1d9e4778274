//! Which user each running task is, where tasks run as users of their own.
//!
//! In comes the first of a range of ids, out come the lowest ones that nobody is at the moment. A task that is somebody
//! by itself can neither signal its neighbours nor be counted together with them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Users at once at most; more tasks than that share the last one.
const MAX_USERS: u32 = 4_096;

/// The ids in use.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    first: Option<u32>,
    taken: Arc<Mutex<BTreeSet<u32>>>,
}

/// One id for as long as this lives.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    number: Option<u32>,
}

impl Slots {
    /// Ids from `first` on; with none, tasks are the node's own user.
    pub(super) fn new(first: Option<u32>) -> Self {
        Slots { first, taken: Arc::default() }
    }

    /// The lowest free id.
    pub(super) fn take(&self) -> Slot {
        let number = self.first.map(|_| {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let number = (0..MAX_USERS).find(|number| !taken.contains(number)).unwrap_or(MAX_USERS);
            taken.insert(number);
            number
        });
        Slot { slots: self.clone(), number }
    }
}

impl Slot {
    /// The user; `None` is the node's own.
    pub(super) fn user(&self) -> Option<u32> {
        Some(self.slots.first? + self.number?)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_two_tasks_at_once() {
        let slots = Slots::new(Some(100));
        let (a, b, c) = (slots.take(), slots.take(), slots.take());
        assert_eq!([&a, &b, &c].map(Slot::user), [Some(100), Some(101), Some(102)]);
        drop(b);
        assert_eq!(slots.take().user(), Some(101));
        drop((a, c));
        assert_eq!(Slots::new(None).take().user(), None);
    }
}
