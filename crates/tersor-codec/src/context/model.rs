//! Probabilities of decisions: what was seen in a few contexts, mixed.

use super::counter::Counter;
use super::distance::{self, Decisions, N_BINS, Span};
use super::logistic::{cost, squash};
use super::mixer::Mixer;
use super::shape::Kind;
use super::table::Table;
use super::walk::{N_AROUND, N_AROUND_SIGNS, N_BEFORE, N_EXPECTED, N_SCALES, Site, Statistics};
use crate::range::BitCoder;

/// Contexts of a magnitude: what is expected, what is to the left and above, what is in the kernel or further around.
const N_CONTEXTS: usize = 3;
/// Places for each with one quantizer of a trellis; those with the other follow.
const SIZES: [usize; N_CONTEXTS] = [256, 512, 1024];
const N_QUANTIZERS: usize = 2;
/// Inputs for a magnitude: a logit per context, a constant, row and column.
const N_INPUTS: usize = N_CONTEXTS + 3;
/// Inputs for a sign: the logit of its context and four from around.
const N_SIGN_INPUTS: usize = 5;
/// Sets of weights for magnitudes and for signs, per kind.
const N_WEIGHTS: usize = 8;
const N_TAPS: usize = 32;
/// Room for those of all kinds, and for the contexts of signs.
const ALL_WEIGHTS: usize = (Kind::COUNT * N_WEIGHTS).next_power_of_two();
const ALL_TAPS: usize = (Kind::COUNT * N_TAPS).next_power_of_two();
const N_SIGNS: usize = 256;
// Those of walks fit.
const _: () = assert!(
    N_EXPECTED <= SIZES[0] && N_BEFORE <= SIZES[1] && N_AROUND <= SIZES[2] && 2 * N_AROUND_SIGNS <= N_SIGNS
);
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

    /// Which set of weights for magnitudes.
    #[inline(always)]
    fn mixer(&self) -> usize {
        self.kind as usize * N_WEIGHTS + self.weights
    }

    /// Which set of weights for signs.
    #[inline(always)]
    fn sign_mixer(&self) -> usize {
        self.kind as usize * N_TAPS + self.tap
    }

    /// Which counters of places.
    #[inline(always)]
    fn place(&self) -> usize {
        self.scale * N_PLACES / N_SCALES
    }
}

/// Counters of one context, one per decision about the magnitude.
type Row = [Counter; N_BINS];
type Rows<const N: usize> = Table<Row, N>;

/// All that is learned while a group is coded.
#[derive(Clone, Debug)]
pub(super) struct Model {
    expected: Rows<{ SIZES[0] * N_QUANTIZERS }>,
    before: Rows<{ SIZES[1] * N_QUANTIZERS }>,
    around: Rows<{ SIZES[2] * N_QUANTIZERS }>,
    mixers: Table<[Mixer<N_INPUTS>; N_BINS], ALL_WEIGHTS>,
    signs: Table<Counter, N_SIGNS>,
    sign_mixers: Table<Mixer<N_SIGN_INPUTS>, ALL_TAPS>,
    places: Table<[Counter; N_BINS + 1], N_PLACES>,
    pub(super) statistics: Statistics,
    /// Symbols of finished segments, by kind, off and on a trellis.
    pub(super) n_seen: [[u64; 2]; Kind::COUNT],
}

impl Model {
    pub(super) fn new() -> Self {
        let row = [Counter::default(); N_BINS];
        Self {
            expected: Table::new(row),
            before: Table::new(row),
            around: Table::new(row),
            mixers: Table::new([Mixer(FIRST_WEIGHTS); N_BINS]),
            signs: Table::new(Counter::default()),
            sign_mixers: Table::new(Mixer(FIRST_SIGN_WEIGHTS)),
            places: Table::new([Counter::default(); N_BINS + 1]),
            statistics: Statistics::new(),
            n_seen: [[0; 2]; Kind::COUNT],
        }
    }

    /// Codes the distance at a site.
    #[inline(always)]
    pub(super) fn code<C: BitCoder>(&mut self, coder: &mut C, site: &Site, span: Span, given: i32) -> i32 {
        let [i, j, k] = site.contexts;
        let mut coding = Coding {
            coder,
            site,
            rows: [
                self.expected.at_mut(i),
                self.before.at_mut(j),
                self.around.at_mut(k),
            ],
            mixers: self.mixers.at_mut(site.mixer()),
            sign: self.signs.at_mut(site.signs),
            sign_mixer: self.sign_mixers.at_mut(site.sign_mixer()),
            places: self.places.at_mut(site.place()),
            last: Decided::default(),
        };
        let distance = distance::code(&mut coding, span, given);
        coding.learn();
        distance
    }

    /// What the distance at a site would take, in units of 2^-16 bit.
    pub(super) fn price(&self, site: &Site, span: Span, given: i32) -> u32 {
        let [i, j, k] = site.contexts;
        let mut pricing = Pricing {
            site,
            rows: [self.expected.at(i), self.before.at(j), self.around.at(k)],
            mixers: self.mixers.at(site.mixer()),
            sign: self.signs.at(site.signs),
            sign_mixer: self.sign_mixers.at(site.sign_mixer()),
            places: self.places.at(site.place()),
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

/// Logits that neighbours' distances within a byte speak for.
static SIGN_LOGITS: [i16; 256] = {
    let mut logits = [0; 256];
    let mut i = 0;
    while i < 256 {
        let distance = i as u8 as i8;
        let within = if distance > 3 {
            3
        } else if distance < -3 {
            -3
        } else {
            distance
        };
        logits[i] = within as i16 * SIGN_LOGIT as i16;
        i += 1;
    }
    logits
};

/// What a mixer is told about a sign.
#[inline(always)]
fn sign_inputs(counter: &Counter, site: &Site) -> [i32; N_SIGN_INPUTS] {
    let [left, up, up2] = site
        .signed
        .map(|distance| SIGN_LOGITS[usize::from(distance as u8)].into());
    let kernel = site.kernel_signed.clamp(-3, 3) * SIGN_LOGIT;
    [counter.logit(), left, up, up2, kernel]
}

/// How far a prediction was off, in units of 2^-16.
#[inline(always)]
fn error(p_one: u32, bit: bool) -> i32 {
    (if bit { 65535 } else { 0 }) - p_one as i32
}

/// A decision about the magnitude, what was known before and what was thought of it.
#[derive(Default)]
struct Decided {
    bin: usize,
    inputs: [i32; N_INPUTS],
    p_one: u32,
    bit: bool,
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
    /// The last decision about the magnitude, from which nothing has been learned yet.
    last: Decided,
}

impl<C> Coding<'_, C> {
    /// Learns from the last decision about the magnitude. No other decision of this symbol asks these counters, so it can wait until the
    /// next one is under way: after a mispredicted branch that is then what a processor comes to first.
    #[inline(always)]
    fn learn(&mut self) {
        let Decided {
            bin,
            inputs,
            p_one,
            bit,
        } = &self.last;
        let bin = bin % N_BINS;
        self.mixers[bin].learn(inputs, error(*p_one, *bit), SHIFT);
        for row in &mut self.rows {
            row[bin].update(*bit);
        }
    }
}

impl<C: BitCoder> Decisions for Coding<'_, C> {
    #[inline(always)]
    fn exceeds(&mut self, bin: usize, given: bool) -> bool {
        let bin = bin % N_BINS;
        let inputs = inputs(self.rows.each_ref().map(|row| &row[bin]), self.site);
        let p_one = squash(self.mixers[bin].mix(&inputs));
        if bin > 0 {
            self.learn();
        }
        let bit = self.coder.branch(p_one, given);
        self.last = Decided {
            bin,
            inputs,
            p_one,
            bit,
        };
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
    site: &'a Site,
    rows: [&'a Row; N_CONTEXTS],
    mixers: &'a [Mixer<N_INPUTS>; N_BINS],
    sign: &'a Counter,
    sign_mixer: &'a Mixer<N_SIGN_INPUTS>,
    places: &'a [Counter; N_BINS + 1],
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
        let inputs = inputs(self.rows.map(|row| &row[bin]), self.site);
        self.add(squash(self.mixers[bin].mix(&inputs)), given)
    }

    fn is_negative(&mut self, given: bool) -> bool {
        let inputs = sign_inputs(self.sign, self.site);
        self.add(squash(self.sign_mixer.mix(&inputs)), given)
    }

    fn place(&mut self, bin: usize, most: u32, given: u32) -> u32 {
        let mut highest = self.places.get(bin);
        distance::place(most, given, |given| {
            let p_one = highest.take().map_or(1 << 15, |c| c.probability());
            self.add(p_one, given)
        })
    }
}
