//! Learning rates over time.

use serde::{Deserialize, Serialize};

/// The learning rate as a function of the share of the training that is done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// The same throughout.
    Constant {
        /// Learning rate.
        rate: f64,
    },
    /// Linear from 0 to the peak, then half a cosine down.
    Cosine {
        /// Learning rate after the warm-up.
        peak: f64,
        /// Share of the training in which it rises.
        warmup: f64,
        /// Learning rate at the end, as a share of the peak.
        floor: f64,
    },
}

impl Schedule {
    /// The learning rate when a share `done` of the training, 0 to 1, lies behind.
    pub fn rate(&self, done: f64) -> f64 {
        match *self {
            Self::Constant { rate } => rate,
            Self::Cosine { peak, warmup, .. } if done < warmup => peak * (done / warmup).max(0.01),
            Self::Cosine { peak, warmup, floor } => {
                let at = ((done - warmup) / (1.0 - warmup).max(1e-9)).clamp(0.0, 1.0);
                let cosine = f64::midpoint(1.0, (std::f64::consts::PI * at).cos());
                peak * (floor + (1.0 - floor) * cosine)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_rises_falls_and_ends_at_its_floor() {
        let s = Schedule::Cosine {
            peak: 2.0,
            warmup: 0.1,
            floor: 0.05,
        };
        assert!(s.rate(0.0) > 0.0 && s.rate(0.05) < 1.01);
        assert!((s.rate(0.1) - 2.0).abs() < 1e-12);
        assert!((s.rate(0.55) - 1.05).abs() < 1e-9);
        assert!((s.rate(1.0) - 0.1).abs() < 1e-12);
    }
}
