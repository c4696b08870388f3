//! A table whose indices are cut to fit: they fit by their construction, and nothing need check that again.

/// `N` places, a power of two.
#[derive(Clone, Debug)]
pub(super) struct Table<T, const N: usize>(Box<[T; N]>);

impl<T: Clone, const N: usize> Table<T, N> {
    const MASK: usize = {
        assert!(N.is_power_of_two());
        N - 1
    };

    /// A table full of a value.
    pub(super) fn new(value: T) -> Self {
        match vec![value; N].try_into() {
            Ok(places) => Self(places),
            Err(_) => unreachable!("a vector has as many places as it was made with"),
        }
    }

    #[inline(always)]
    pub(super) fn at(&self, index: usize) -> &T {
        debug_assert!(index < N, "an index of the table");
        &self.0[index & Self::MASK]
    }

    #[inline(always)]
    pub(super) fn at_mut(&mut self, index: usize) -> &mut T {
        debug_assert!(index < N, "an index of the table");
        &mut self.0[index & Self::MASK]
    }
}
