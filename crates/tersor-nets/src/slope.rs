//! The slope at which a file has a size.

use crate::Result;
use tersor::Secant;

/// How to look for a size; sizes are in units of the one that is wanted.
pub(crate) struct SizeSearch {
    /// Most files that are made.
    pub(crate) max_files: usize,
    /// A file of at least this size, and at most 1, ends the search, which aims at the middle between the two.
    pub(crate) close: f64,
    /// Change of the logarithm of the slope per change of that of the size, to begin with.
    pub(crate) gain: f64,
    /// How far the logarithm of the slope may go, down and up.
    pub(crate) reach: (f64, f64),
    /// The smallest file will do up to this size, if none of at most 1 is found.
    pub(crate) limit: f64,
}

impl SizeSearch {
    /// The best file, as `at` makes it for a slope, beside its size, and its slope: the largest of size at most 1.
    ///
    /// # Errors
    /// What `at` returns.
    pub(crate) fn run<T>(
        &self,
        start: f64,
        mut at: impl FnMut(f64) -> Result<(f64, T)>,
    ) -> Result<Option<(f64, T)>> {
        let aim = f64::midpoint(self.close, 1.0);
        let mut x = start.ln();
        let mut secant = Secant::falling((x - self.reach.0, x + self.reach.1), self.gain).forgiving();
        let mut best: Option<(f64, f64, T)> = None;
        for _ in 0..self.max_files {
            let (size, file) = at(x.exp())?;
            let better = match &best {
                None => size <= self.limit.max(1.0),
                Some((most, ..)) if *most <= 1.0 => size <= 1.0 && size > *most,
                Some((least, ..)) => size < *least,
            };
            if better {
                best = Some((size, x.exp(), file));
            }
            if (self.close..=1.0).contains(&size) {
                break;
            }
            secant.add(x, size.ln() - aim.ln());
            match secant.next(x) {
                Some(next) => x = next,
                None => break,
            }
        }
        Ok(best.map(|(_, slope, file)| (slope, file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: SizeSearch = SizeSearch {
        max_files: 12,
        close: 0.98,
        gain: 3.0,
        reach: (12.0, 12.0),
        limit: 1.0,
    };

    #[test]
    fn the_largest_file_within_the_size_is_found() {
        let mut n = 0;
        let found = SEARCH.run(1.0, |slope| {
            n += 1;
            Ok((3.0 - 0.4 * slope.ln(), n))
        });
        let (slope, which) = found.unwrap().unwrap();
        let size = 3.0 - 0.4 * slope.ln();
        assert!(
            (0.98..=1.0).contains(&size) && which == n,
            "{size}, {which} of {n}"
        );
    }

    #[test]
    fn a_file_beyond_the_size_will_do_up_to_the_limit() {
        let stuck = |limit: f64| {
            let search = SizeSearch { limit, ..SEARCH };
            search
                .run(1.0, |slope: f64| Ok((1.01 + (-slope.ln()).max(0.0), ())))
                .unwrap()
        };
        assert!(stuck(1.0).is_none());
        assert!(stuck(1.02).is_some());
    }
}
