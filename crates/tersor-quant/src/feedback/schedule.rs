//! Which stages a layer goes through, at static prices and at those of a coder that learns.

use rayon::prelude::*;

use super::problem::{BATCH, Problem};
use super::stage::Batch;
use crate::choice::Knob;
use crate::error::{Result, not_negative, positive_step};
use crate::price::{GridPrices, PRICE_ONE_BIT, RateModel, SequentialPrice, coded_bits};

/// Passes end when the objective falls by less than this share.
pub(super) const REST: f64 = 1e-4;

/// What one stage reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Predicted loss.
    pub distortion: f64,
    /// Bits at the prices of the coder, all symbols together.
    pub rate_bits: f64,
}

impl Stage {
    /// The objective `distortion + slope * rate_bits`.
    pub fn j(&self, slope: f64) -> f64 {
        self.distortion + slope * self.rate_bits
    }
}

/// Symbols of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// Multiples of the step, in the order of the weights.
    pub symbols: Vec<i32>,
    /// Feedback first, then each further pass that lowered the objective. The last is what the symbols cost.
    pub trace: Vec<Stage>,
}

/// What a stage does.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Work {
    Feed,
    Descend,
}

impl Problem<'_> {
    /// Quantizes at static prices, rows in parallel.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a step out of range or a negative slope.
    pub fn quantize_static<M: RateModel + Sync>(
        &self,
        step: f32,
        slope: f64,
        prices: &GridPrices<'_, M>,
    ) -> Result<Quantized> {
        check(step, slope)?;
        let knob = Knob::new(step, slope, prices);
        Ok(self.stages(slope, |work, symbols, field| Stage {
            distortion: self.work(work, knob, prices, 1, symbols, field),
            rate_bits: priced_bits(symbols, prices),
        }))
    }

    /// Quantizes at the prices of a coder that learns, one row after the other.
    ///
    /// Feedback is priced from the state that the coder is given in, every pass of descent by what it learned from
    /// the symbols before. After each stage the symbols are coded from the given state, which tells their bits. A
    /// pass that does not lower the objective is undone and is the last. The coder is left as it is after the
    /// symbols returned.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a step out of range or a negative slope.
    pub fn quantize<P: SequentialPrice>(&self, step: f32, slope: f64, price: &mut P) -> Result<Quantized> {
        check(step, slope)?;
        let knob = Knob::new(step, slope, price);
        let given = price.snapshot();
        let quantized = self.stages(slope, |work, symbols, field| {
            if work == Work::Descend {
                price.rewind();
            }
            let mut distortion = 0.0;
            let rows = symbols.chunks_exact_mut(self.n_in());
            for (first, (symbols, field)) in rows.zip(field.chunks_exact_mut(self.n_in())).enumerate() {
                let mut row = Batch {
                    first,
                    symbols,
                    field,
                };
                distortion += self.work_on(work, &mut row, knob, price).into_iter().sum::<f64>();
            }
            price.restore(&given);
            Stage {
                distortion,
                rate_bits: coded_bits(symbols.iter().copied(), price),
            }
        });
        price.restore(&given);
        coded_bits(quantized.symbols.iter().copied(), price);
        Ok(quantized)
    }

    /// Feedback, then descent until the objective rests.
    pub(super) fn stages(
        &self,
        slope: f64,
        mut stage: impl FnMut(Work, &mut [i32], &mut [f64]) -> Stage,
    ) -> Quantized {
        let mut symbols = vec![0; self.targets.len()];
        let mut field = vec![0.0; self.targets.len()];
        let mut last = stage(Work::Feed, &mut symbols, &mut field);
        let mut trace = vec![last];
        if self.config.passes > 0 {
            let batches = field.par_chunks_mut(BATCH * self.n_in());
            batches.for_each(|field| self.to_gradient(field));
        }
        for _ in 0..self.config.passes {
            let before = symbols.clone();
            let now = stage(Work::Descend, &mut symbols, &mut field);
            let gain = last.j(slope) - now.j(slope);
            if gain > 0.0 {
                trace.push(now);
            } else {
                symbols = before;
            }
            if gain <= REST * last.j(slope) {
                break;
            }
            last = now;
        }
        Quantized { symbols, trace }
    }

    /// One stage at static prices: the loss it leaves. Symbols and field are those of every `skip`-th batch.
    pub(super) fn work<M: RateModel + Sync>(
        &self,
        work: Work,
        knob: Knob,
        prices: &GridPrices<'_, M>,
        skip: usize,
        symbols: &mut [i32],
        field: &mut [f64],
    ) -> f64 {
        let len = BATCH * self.n_in();
        let batches = symbols.par_chunks_mut(len).zip(field.par_chunks_mut(len));
        let losses: Vec<Vec<f64>> = batches
            .enumerate()
            .map(|(i, (symbols, field))| {
                let first = i * skip * BATCH;
                let mut batch = Batch {
                    first,
                    symbols,
                    field,
                };
                self.work_on(work, &mut batch, knob, &mut { *prices })
            })
            .collect();
        losses.iter().flatten().sum()
    }

    /// One stage of a batch: the loss it leaves in each row.
    fn work_on(
        &self,
        work: Work,
        batch: &mut Batch,
        knob: Knob,
        price: &mut impl SequentialPrice,
    ) -> Vec<f64> {
        match work {
            Work::Feed => {
                self.feed(batch, knob, price);
                self.losses_fed(batch.first, batch.field).collect()
            }
            Work::Descend => {
                self.descend(batch, knob, price);
                self.losses(batch, knob).collect()
            }
        }
    }
}

pub(super) fn check(step: f32, slope: f64) -> Result<()> {
    positive_step(step)?;
    not_negative("slope", slope)
}

fn priced_bits<M: RateModel + Sync>(symbols: &[i32], prices: &GridPrices<'_, M>) -> f64 {
    let bits = |&symbol: &i32| u64::from({ *prices }.bits(0, symbol));
    symbols.par_iter().map(bits).sum::<u64>() as f64 / f64::from(PRICE_ONE_BIT)
}
