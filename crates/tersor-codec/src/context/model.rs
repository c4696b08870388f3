//! Probabilities of decisions: what was seen in a few contexts, mixed.

use super::counter::Counter;
use super::distance::{self, Decisions, N_BINS, Span};
use super::logistic::{cost, squash};
use super::mixer::Mixer;
use super::shape::Kind;
use super::walk::{N_SCALES, Site, Statistics};
use crate::range::BitCoder;

/// Contexts of a magnitude: what is expected, what is to the left and above, what is in the kernel or further around.
const N_CONTEXTS: usize = 3;
const SIZES: [usize; N_CONTEXTS] = [Kind::COUNT * N_SCALES, 512, 512 + 81];
/// Those of the second quantizer of a trellis follow those of the first.
const N_QUANTIZERS: usize = 2;
/// Inputs for a magnitude: a logit per context, a constant, row and column.
const N_INPUTS: usize = N_CONTEXTS + 3;
/// Inputs for a sign: the logit of its context and four from around.
const N_SIGN_INPUTS: usize = 5;
/// Sets of weights for magnitudes and for signs, per kind.
const N_WEIGHTS: usize = 8;
const N_TAPS: usize = 32;
/// Classes of the expected magnitude for places in intervals.
const N_PLACES: usize = 8;
/// Weights before the first bit: the three contexts count about a third each.
const FIRST_WEIGHTS: [i32; N_INPUTS] = [22_000, 22_000, 22_000, 0, 0, 0];
const FIRST_SIGN_WEIGHTS: [i32; N_SIGN_INPUTS] = [16_384, 0, 0, 0, 0];
/// Logit of a sign that a distance of 1 speaks for; more than 3 count as 3.
const SIGN_LOGIT: i32 = 160;
/// Rates of learning, as shifts. Measured on ResNet-32 and SqueezeNet at 2 and 3 bits per weight, stories260k at 4, a
/// pruned LeNet.
const SHIFT: u32 = 16;
const SIGN_SHIFT: u32 = 15;

impl Site {
    /// What is known if the next index is one of this quantizer.
    #[inline(always)]
    pub(super) fn of_quantizer(mut self, quantizer: usize) -> Self {
        for (context, n) in self.contexts.iter_mut().zip(SIZES) {
            *context += quantizer * n;
        }
        self
    }
}

/// Counters of one context, one per decision about the magnitude.
type Row = [Counter; N_BINS];

/// All that is learned while a group is coded.
#[derive(Clone, Debug)]
pub(super) struct Model {
    rows: [Vec<Row>; N_CONTEXTS],
    mixers: Vec<[Mixer<N_INPUTS>; N_BINS]>,
    signs: Vec<Counter>,
    sign_mixers: Vec<Mixer<N_SIGN_INPUTS>>,
    places: Vec<[Counter; N_BINS + 1]>,
    pub(super) statistics: Statistics,
    /// Symbols of finished segments, by kind, off and on a trellis.
    pub(super) n_seen: [[u64; 2]; Kind::COUNT],
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            rows: SIZES.map(|n| vec![[Counter::default(); N_BINS]; N_QUANTIZERS * n]),
            mixers: vec![[Mixer(FIRST_WEIGHTS); N_BINS]; Kind::COUNT * N_WEIGHTS],
            signs: vec![Counter::default(); 2 * 81],
            sign_mixers: vec![Mixer(FIRST_SIGN_WEIGHTS); Kind::COUNT * N_TAPS],
            places: vec![[Counter::default(); N_BINS + 1]; N_PLACES],
            statistics: Statistics::new(),
            n_seen: [[0; 2]; Kind::COUNT],
        }
    }

    /// Codes the distance at a site.
    #[inline(always)]
    pub(super) fn code<C: BitCoder>(&mut self, coder: &mut C, site: &Site, span: Span, given: i32) -> i32 {
        let [a, b, c] = &mut self.rows;
        let [i, j, k] = site.contexts;
        let weights = site.kind as usize * N_WEIGHTS + site.weights;
        let tap = site.kind as usize * N_TAPS + site.tap;
        let place = site.scale * N_PLACES / N_SCALES;
        // All indices are in range by their construction; a panic would be the only other way to say so.
        let (Some(a), Some(b), Some(c)) = (a.get_mut(i), b.get_mut(j), c.get_mut(k)) else {
            return 0;
        };
        let (Some(mixers), Some(sign), Some(sign_mixer), Some(places)) = (
            self.mixers.get_mut(weights),
            self.signs.get_mut(site.signs),
            self.sign_mixers.get_mut(tap),
            self.places.get_mut(place),
        ) else {
            return 0;
        };
        let mut coding = Coding {
            coder,
            site,
            rows: [a, b, c],
            mixers,
            sign,
            sign_mixer,
            places,
        };
        distance::code(&mut coding, span, given)
    }

    /// What the distance at a site would take, in units of 2^-16 bit.
    pub(super) fn price(&self, site: &Site, span: Span, given: i32) -> u32 {
        let mut pricing = Pricing {
            model: self,
            site,
            bits: 0,
        };
        distance::code(&mut pricing, span, given);
        pricing.bits
    }
}

/// What a mixer is told about a magnitude.
#[inline(always)]
fn inputs([a, b, c]: [&Counter; N_CONTEXTS], site: &Site) -> [i32; N_INPUTS] {
    let [row, column] = site.inputs;
    [a.logit(), b.logit(), c.logit(), 256, row, column]
}

/// What a mixer is told about a sign.
#[inline(always)]
fn sign_inputs(counter: &Counter, site: &Site) -> [i32; N_SIGN_INPUTS] {
    let [left, up, up2, kernel] = site.signed.map(|v| v.clamp(-3, 3) * SIGN_LOGIT);
    [counter.logit(), left, up, up2, kernel]
}

/// How far a prediction was off, in units of 2^-16.
#[inline(always)]
fn error(p_one: u32, bit: bool) -> i32 {
    (if bit { 65535 } else { 0 }) - p_one as i32
}

/// Codes the decisions of one distance and learns from them.
struct Coding<'a, C> {
    coder: &'a mut C,
    site: &'a Site,
    rows: [&'a mut Row; N_CONTEXTS],
    mixers: &'a mut [Mixer<N_INPUTS>; N_BINS],
    sign: &'a mut Counter,
    sign_mixer: &'a mut Mixer<N_SIGN_INPUTS>,
    places: &'a mut [Counter; N_BINS + 1],
}

impl<C: BitCoder> Decisions for Coding<'_, C> {
    #[inline(always)]
    fn exceeds(&mut self, bin: usize, given: bool) -> bool {
        let bin = bin % N_BINS;
        let [a, b, c] = self.rows.each_mut().map(|row| &mut row[bin]);
        let inputs = inputs([a, b, c], self.site);
        let mixer = &mut self.mixers[bin];
        let p_one = squash(mixer.mix(&inputs));
        let bit = self.coder.decide(p_one, given);
        mixer.learn(&inputs, error(p_one, bit), SHIFT);
        a.update(bit);
        b.update(bit);
        c.update(bit);
        bit
    }

    #[inline(always)]
    fn is_negative(&mut self, given: bool) -> bool {
        let inputs = sign_inputs(self.sign, self.site);
        let p_one = squash(self.sign_mixer.mix(&inputs));
        let bit = self.coder.decide(p_one, given);
        self.sign_mixer.learn(&inputs, error(p_one, bit), SIGN_SHIFT);
        self.sign.update(bit);
        bit
    }

    #[inline(always)]
    fn place(&mut self, bin: usize, most: u32, given: u32) -> u32 {
        code_place(self.coder, self.places.get_mut(bin), most, given)
    }
}

/// Codes a place, whose highest bit has a counter. It is rare, and out of the way of the rest.
#[inline(never)]
fn code_place(coder: &mut impl BitCoder, counter: Option<&mut Counter>, most: u32, given: u32) -> u32 {
    let mut highest = counter;
    distance::place(most, given, |given| match highest.take() {
        Some(counter) => {
            let bit = coder.decide(counter.probability(), given);
            counter.update(bit);
            bit
        }
        None => coder.decide(1 << 15, given),
    })
}

/// Adds up what the decisions of one distance would take.
struct Pricing<'a> {
    model: &'a Model,
    site: &'a Site,
    bits: u32,
}

impl Pricing<'_> {
    fn add(&mut self, p_one: u32, bit: bool) -> bool {
        self.bits += cost(if bit { p_one } else { (1 << 16) - p_one });
        bit
    }
}

impl Decisions for Pricing<'_> {
    fn exceeds(&mut self, bin: usize, given: bool) -> bool {
        let bin = bin % N_BINS;
        let [a, b, c] = &self.model.rows;
        let [i, j, k] = self.site.contexts;
        let weights = self.site.kind as usize * N_WEIGHTS + self.site.weights;
        let mixers = self.model.mixers.get(weights);
        let (Some(a), Some(b), Some(c), Some(mixers)) = (a.get(i), b.get(j), c.get(k), mixers) else {
            return given;
        };
        let p_one = squash(mixers[bin].mix(&inputs([&a[bin], &b[bin], &c[bin]], self.site)));
        self.add(p_one, given)
    }

    fn is_negative(&mut self, given: bool) -> bool {
        let mixer = self
            .model
            .sign_mixers
            .get(self.site.kind as usize * N_TAPS + self.site.tap);
        let (Some(counter), Some(mixer)) = (self.model.signs.get(self.site.signs), mixer) else {
            return given;
        };
        self.add(squash(mixer.mix(&sign_inputs(counter, self.site))), given)
    }

    fn place(&mut self, bin: usize, most: u32, given: u32) -> u32 {
        let places = self.model.places.get(self.site.scale * N_PLACES / N_SCALES);
        let mut highest = places.and_then(|p| p.get(bin));
        distance::place(most, given, |given| {
            let p_one = highest.take().map_or(1 << 15, |c| c.probability());
            self.add(p_one, given)
        })
    }
}
