//! What threads of one process share, and a forked child has anew: the parent's may be locked, by a thread that the child has not.

use std::sync::OnceLock;

use stepwell_engine::without_forks;

/// A value for each process of a line of forks. What children inherit is never looked at nor freed.
pub(crate) struct PerProcess<T> {
    first: OnceLock<Link<T>>,
}

struct Link<T> {
    process: u32,
    value: T,
    child: OnceLock<Box<Self>>,
}

impl<T: Default> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { first: OnceLock::new() }
    }

    /// The value of the calling process.
    pub(crate) fn get(&self) -> &T {
        let process = std::process::id();
        let new = || Link { process, value: T::default(), child: OnceLock::new() };
        // A child that inherited a link half made would wait for it.
        without_forks(|| {
            let mut link = self.first.get_or_init(new);
            while link.process != process {
                link = link.child.get_or_init(|| Box::new(new()));
            }
            &link.value
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_process_has_one_value() {
        static COUNT: PerProcess<Mutex<u32>> = PerProcess::new();
        *COUNT.get().lock().expect("lock") += 1;
        *COUNT.get().lock().expect("lock") += 1;
        assert_eq!(*COUNT.get().lock().expect("lock"), 2);
    }

    #[test]
    fn what_is_inherited_is_left_alone() {
        let inherited = PerProcess::<Mutex<u32>>::new();
        let parent = Link { process: u32::MAX, value: Mutex::new(7), child: OnceLock::new() };
        assert!(inherited.first.set(parent).is_ok());
        let held = inherited.first.get().expect("set").value.lock().expect("lock");
        assert_eq!(*inherited.get().lock().expect("lock"), 0);
        assert_eq!(*held, 7);
    }
}
