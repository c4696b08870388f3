//! Where a curve that is nearly monotone crosses zero.

/// Ends of a bracket closer than this are not told apart.
const NARROW: f64 = 1e-3;
/// Farthest step where there is no bracket yet, and the least.
const STRIDE: (f64, f64) = (0.02, 4.0);
/// How much farther than a straight line says to go, so that the next point is on the other side.
const OVERSHOOT: f64 = 1.1;
/// Share of a bracket that a step keeps off its ends, so that it shrinks.
const MARGIN: f64 = 0.05;

/// A secant search within a bracket, once there is one. It says where to look and is told what was found: the curve may be
/// as dear as it likes.
#[derive(Clone, Debug)]
pub struct Secant {
    falls: bool,
    /// Least and greatest place.
    ends: (f64, f64),
    /// How far to go per unit of the curve while only one side is known.
    gain: f64,
    /// The latest points to the left and to the right of the crossing.
    left: Option<(f64, f64)>,
    right: Option<(f64, f64)>,
    /// Jumps that a bracket may close on before the search ends.
    chances: u32,
}

impl Secant {
    /// For a curve that falls.
    pub fn falling(ends: (f64, f64), gain: f64) -> Self {
        Self {
            falls: true,
            ends,
            gain,
            left: None,
            right: None,
            chances: 0,
        }
    }

    /// The same, but the first jump that a bracket closes on is taken for an outlier, and the search goes on beyond it.
    #[must_use]
    pub fn forgiving(self) -> Self {
        Self { chances: 1, ..self }
    }

    /// For a curve that rises.
    pub fn rising(ends: (f64, f64), gain: f64) -> Self {
        Self {
            falls: false,
            ..Self::falling(ends, gain)
        }
    }

    /// The curve is `y` at `x`. Where it is not monotone, a point on the wrong side of one from before takes its place.
    pub fn add(&mut self, x: f64, y: f64) {
        let is_left = (y > 0.0) == self.falls;
        let (side, other) = if is_left {
            (&mut self.left, &mut self.right)
        } else {
            (&mut self.right, &mut self.left)
        };
        other.take_if(|(x0, _)| (x >= *x0) == is_left);
        if let Some((x0, y0)) = side.replace((x, y)) {
            // Two points on one side tell how steep the curve is; a little more crosses it.
            let seen = OVERSHOOT * (x - x0).abs() / (y - y0).abs();
            if seen.is_finite() {
                self.gain = seen.clamp(self.gain / 8.0, self.gain * 8.0);
            }
        }
        if self.chances > 0 && other.is_some_and(|(x0, _)| (x - x0).abs() <= NARROW) {
            self.chances -= 1;
            *other = None;
        }
    }

    /// Where to look after `x`; nowhere if the bracket has closed on a jump, or the crossing lies beyond an end.
    pub fn next(&self, x: f64) -> Option<f64> {
        let stride = |y: f64| (self.gain * y.abs()).clamp(STRIDE.0, STRIDE.1);
        let next = match (self.left, self.right) {
            (Some((a, ya)), Some((b, yb))) if b - a > NARROW => {
                let line = a - ya * (b - a) / (yb - ya);
                line.clamp(a + MARGIN * (b - a), b - MARGIN * (b - a))
            }
            // Closed.
            (Some(_), Some(_)) => return None,
            (Some((a, y)), None) => a + stride(y),
            (None, Some((b, y))) => b - stride(y),
            (None, None) => x,
        };
        let next = next.clamp(self.ends.0, self.ends.1);
        ((next - x).abs() > 1e-9).then_some(next)
    }

    /// Whether the crossing lies beyond the end that `x` is at, where the curve is `y`.
    pub fn is_at_end(&self, x: f64, y: f64) -> bool {
        let end = if (y > 0.0) == self.falls {
            self.ends.1
        } else {
            self.ends.0
        };
        (x - end).abs() < 1e-9
    }

    /// A place `step` further to where the curve is lower.
    pub fn safer(&self, x: f64, step: f64) -> f64 {
        let lower = if self.falls { x + step } else { x - step };
        lower.clamp(self.ends.0, self.ends.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places looked at until the curve is within `near` of zero, or there is nowhere to look.
    fn walk(secant: &mut Secant, start: f64, near: f64, curve: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut places = vec![start];
        loop {
            let x = places[places.len() - 1];
            let y = curve(x);
            secant.add(x, y);
            match secant.next(x).filter(|_| y.abs() > near) {
                Some(next) => places.push(next),
                None => return places,
            }
            assert!(places.len() < 60, "{places:?}");
        }
    }

    #[test]
    fn a_smooth_curve_takes_few_looks() {
        // Logarithm of a rate that falls by half a bit per factor of 2 in the slope, over 2 bits.
        let rate = |x: f64| ((3.0 - 0.36 * x) / 2.0).ln();
        let falling = walk(&mut Secant::falling((-9.0, 7.0), 2.8), 5.0, 1e-3, rate);
        assert!(falling.len() <= 6, "{falling:?}");
        let rising = walk(&mut Secant::rising((-9.0, 9.0), 1.0), -3.0, 1e-3, |x| {
            0.8 * x - 1.0
        });
        assert!(
            rising.len() <= 5 && (rising[rising.len() - 1] - 1.25).abs() < 0.01,
            "{rising:?}"
        );
    }

    #[test]
    fn a_jump_closes_the_bracket() {
        let places = walk(&mut Secant::falling((-9.0, 9.0), 1.0), -2.0, 1e-3, |x| {
            if x < 0.5 { 1.0 } else { -1.0 }
        });
        assert!((places[places.len() - 1] - 0.5).abs() < 0.1, "{places:?}");
    }

    #[test]
    fn an_outlier_does_not_end_the_walk() {
        // Found to be low once, where it is high.
        for outlier in 0..8 {
            let mut n = 0;
            let curve = |x: f64| {
                n += 1;
                if n == outlier { -1.0 } else { (3.0 - x).tanh() }
            };
            let mut secant = Secant::falling((-9.0, 9.0), 1.0).forgiving();
            let mut x = 0.0;
            let mut curve = curve;
            let found = (0..30).any(|_| {
                let y = curve(x);
                secant.add(x, y);
                secant.next(x).is_some_and(|next| {
                    x = next;
                    (x - 3.0).abs() < 1e-2
                })
            });
            assert!(found, "{outlier}: at {x}");
        }
    }

    #[test]
    fn a_crossing_beyond_an_end_is_told() {
        let mut secant = Secant::falling((-1.0, 1.0), 1.0);
        let places = walk(&mut secant, 0.0, 1e-3, |_| 2.0);
        let last = places[places.len() - 1];
        assert_eq!(last, 1.0);
        assert!(secant.is_at_end(last, 2.0) && !secant.is_at_end(last, -2.0));
    }
}
