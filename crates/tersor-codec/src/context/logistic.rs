//! Tables of the logistic function and of the logarithm, in integers. `docs/format.md`, "Tables".

/// Logits are in units of 1/256 and lie strictly between plus and minus this.
pub(super) const MAX_LOGIT: i32 = 2816;
/// No probability comes closer to 0 or 1 than this, in units of 2^-16.
const MARGIN: u64 = 2;
/// exp(-1/256) in units of 2^-32, rounded.
const DECAY: u64 = 4_278_222_805;
/// Bits of a probability in the table of logits.
pub(super) const STRETCH_BITS: u32 = 14;
const N_STRETCH: usize = 1 << STRETCH_BITS;
/// Entries of the table of costs.
const N_COST: usize = 1 << 12;

const fn squash_table() -> [u16; 2 * MAX_LOGIT as usize] {
    let mut table = [0; 2 * MAX_LOGIT as usize];
    // exp(-x / 256) in units of 2^-32.
    let mut power = 1u64 << 32;
    let mut x = 0;
    while x < MAX_LOGIT as usize {
        let mut low = (power << 16) / ((1 << 32) + power);
        if low < MARGIN {
            low = MARGIN;
        }
        if x > 0 {
            table[MAX_LOGIT as usize - x] = low as u16;
        }
        table[MAX_LOGIT as usize + x] = (65536 - low) as u16;
        power = (power * DECAY) >> 32;
        x += 1;
    }
    table[0] = table[1];
    table
}

static SQUASH: [u16; 2 * MAX_LOGIT as usize] = squash_table();

#[expect(clippy::large_stack_arrays, reason = "made by the compiler")]
const fn stretch_table() -> [i16; N_STRETCH] {
    let mut table = [0; N_STRETCH];
    let squash = squash_table();
    let mut x = 1 - MAX_LOGIT;
    let mut i = 0;
    while i < N_STRETCH {
        while x < MAX_LOGIT - 1 && squash[(x + 1 + MAX_LOGIT) as usize] as usize <= 4 * i + 2 {
            x += 1;
        }
        table[i] = x as i16;
        i += 1;
    }
    table
}

static STRETCH: [i16; N_STRETCH] = stretch_table();

/// The probability with this logit, in units of 2^-16.
#[inline]
pub(super) fn squash(logit: i32) -> u32 {
    let clamped = logit.clamp(1 - MAX_LOGIT, MAX_LOGIT - 1);
    SQUASH[(clamped + MAX_LOGIT) as usize].into()
}

/// The logit of a probability given in units of 2^-14.
#[inline]
pub(super) fn stretch(probability: u32) -> i16 {
    STRETCH[probability as usize & (N_STRETCH - 1)]
}

/// The first `n` bits of log2(x / 2^31) behind the point; x / 2^31 is at least 1 and below 2.
const fn log2_bits(mut x: u64, n: u32) -> u32 {
    let mut bits = 0;
    let mut i = 0;
    while i < n {
        // Each time the square passes 2, the next bit is 1.
        x = (x * x) >> 31;
        bits <<= 1;
        if x >= 1 << 32 {
            x >>= 1;
            bits |= 1;
        }
        i += 1;
    }
    bits
}

/// log2(1 + (i + 1/2) / 64) in units of 1/256.
const fn fraction_table() -> [u8; 64] {
    let mut table = [0; 64];
    let mut i = 0;
    while i < 64 {
        // One bit more than is kept rounds.
        let bits = log2_bits((1 << 31) + ((2 * i as u64 + 1) << 24), 9);
        table[i] = ((bits + 1) >> 1) as u8;
        i += 1;
    }
    table
}

static FRACTION: [u8; 64] = fraction_table();

/// log2 of `x`, at least 1, in units of 1/256.
#[inline]
pub(super) fn log2(x: u32) -> i32 {
    let x = x.max(1);
    let exponent = x.ilog2();
    let fraction = ((u64::from(x) << 6) >> exponent) as usize & 63;
    (exponent << 8) as i32 + i32::from(FRACTION[fraction])
}

/// About 2^(`log` / 256), for `log` of 0 to 8191: a straight line in each octave.
#[inline]
pub(super) const fn exp2(log: u32) -> u32 {
    ((256 + (log as u64 & 255)) << (log >> 8 & 31) >> 8) as u32
}

/// -log2((i + 1/2) / 4096) in units of 2^-16, rounded down.
const fn cost_table() -> [u32; N_COST] {
    let mut table = [0; N_COST];
    let mut i = 0;
    while i < N_COST {
        let odd = 2 * i as u64 + 1;
        let exponent = odd.ilog2();
        let bits = log2_bits((odd << 31) >> exponent, 16);
        table[i] = (13 << 16) - (exponent << 16) - bits;
        i += 1;
    }
    table
}

static COST: [u32; N_COST] = cost_table();

/// Information of a bit that had this probability, in units of 2^-16 bit; the probability in units of 2^-16.
#[inline]
pub(crate) fn cost(probability: u32) -> u32 {
    COST[probability as usize >> 4 & (N_COST - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squash_is_the_logistic_function() {
        for x in 1 - MAX_LOGIT..MAX_LOGIT {
            let exact = 65536.0 / (1.0 + (-f64::from(x) / 256.0).exp());
            let found = f64::from(squash(x));
            assert!(
                (found - exact).abs() <= 1.01 || !(3.0..=65533.0).contains(&exact),
                "{x}: {found}, {exact}"
            );
            assert_eq!(squash(x) + squash(-x), 65536);
        }
    }

    #[test]
    fn stretch_inverts_squash() {
        for p in 2..(1 << STRETCH_BITS) - 2 {
            let x = i32::from(stretch(p));
            assert!(squash(x) <= 4 * p + 2 && squash(x + 1) > 4 * p + 2, "{p}");
        }
    }

    #[test]
    fn log2_is_within_a_hundredth() {
        for x in [1u32, 2, 3, 100, 65536, 1 << 20, 123_456_789, u32::MAX] {
            let exact = 256.0 * f64::from(x).log2();
            assert!((f64::from(log2(x)) - exact).abs() < 3.5, "{x}");
        }
    }

    #[test]
    fn exp2_is_within_a_sixteenth() {
        for log in 0..8192u32 {
            let exact = (f64::from(log) / 256.0).exp2();
            let found = f64::from(exp2(log));
            assert!(
                found <= exact * 1.0625 + 1.0 && found >= exact - 1.0,
                "{log}: {found}"
            );
        }
    }

    #[test]
    fn costs_are_logarithms() {
        for p in 1..65536u32 {
            let exact = -65536.0 * (f64::from(p >> 4 << 4) + 8.0).log2() + 16.0 * 65536.0;
            assert!((f64::from(cost(p)) - exact).abs() < 2.0, "{p}");
        }
    }
}
