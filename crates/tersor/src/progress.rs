//! Telling a person how far long work is.

/// Receives the progress of one piece of work at a time.
pub trait Progress: Sync {
    /// Work begins: its name and its size, in units that [`advance`](Self::advance) counts.
    fn start(&self, what: &str, total: u64);
    /// So much more of it is done.
    fn advance(&self, amount: u64);
    /// What is going on, in a few words.
    fn note(&self, _text: &str) {}
    /// Work ends.
    fn finish(&self);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}
