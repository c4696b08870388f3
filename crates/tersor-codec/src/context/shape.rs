//! How a tensor's elements lie to each other: rows, channels and kernels.

/// Most elements of a kernel.
const MAX_TAPS: usize = 1024;

/// Rows of channels of kernels; a matrix has kernels of one element, a vector is one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    /// Elements of a row.
    pub(super) n_columns: usize,
    /// Elements of a kernel.
    pub(super) n_taps: usize,
    /// Elements of a line of a kernel.
    pub(super) width: usize,
}

/// What the neighbours of an element are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// At most one axis.
    Vector = 0,
    /// Kernels of one element, or of so many that they are taken apart.
    Matrix = 1,
    /// Kernels of several elements.
    Kernels = 2,
}

impl Kind {
    /// Number of kinds.
    pub(super) const COUNT: usize = 3;
}

impl Shape {
    /// The shape of a tensor; an empty one counts as one element.
    pub(super) fn new(extents: &[u64]) -> Self {
        let size = |extents: &[u64]| {
            let n = extents.iter().fold(1u64, |n, &e| n.saturating_mul(e)).max(1);
            usize::try_from(n).unwrap_or(usize::MAX)
        };
        match extents {
            [] | [_] => Self {
                kind: Kind::Vector,
                n_columns: size(extents),
                n_taps: 1,
                width: 1,
            },
            [_, columns @ ..] => {
                let kernel = columns.get(1..).unwrap_or_default();
                let n_taps = size(kernel);
                let (kind, n_taps, width) = match kernel.last() {
                    Some(&width) if (2..=MAX_TAPS).contains(&n_taps) => {
                        (Kind::Kernels, n_taps, width as usize)
                    }
                    _ => (Kind::Matrix, 1, 1),
                };
                Self {
                    kind,
                    n_columns: size(columns),
                    n_taps,
                    width,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_what_lies_beyond_two_axes() {
        let shape = |extents: &[u64]| {
            let s = Shape::new(extents);
            (s.kind, s.n_columns, s.n_taps, s.width)
        };
        assert_eq!(shape(&[]), (Kind::Vector, 1, 1, 1));
        assert_eq!(shape(&[7]), (Kind::Vector, 7, 1, 1));
        assert_eq!(shape(&[7, 5]), (Kind::Matrix, 5, 1, 1));
        assert_eq!(shape(&[7, 5, 1, 1]), (Kind::Matrix, 5, 1, 1));
        assert_eq!(shape(&[7, 5, 3]), (Kind::Kernels, 15, 3, 3));
        assert_eq!(shape(&[7, 5, 2, 3, 4]), (Kind::Kernels, 120, 24, 4));
        assert_eq!(shape(&[7, 5, 32, 33]), (Kind::Matrix, 5 * 32 * 33, 1, 1));
        assert_eq!(shape(&[0, 1 << 60, 1 << 60, 1 << 60]).0, Kind::Matrix);
        assert_eq!(shape(&[3, 0, 3, 3]), (Kind::Kernels, 1, 9, 3));
    }
}
