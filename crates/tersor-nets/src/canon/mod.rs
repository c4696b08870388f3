//! Canonical order: hidden units that do nothing are emptied, and the others sorted, which a network's function does not depend on.
//!
//! A sparse network's weights then lie together, where a coder with contexts of rows and columns finds them. It is never done
//! unasked: whoever compares weights by name would not recognise them.

mod narrow;
mod units;

use crate::Parameters;
use crate::graph::{Network, Op};
pub(crate) use narrow::Narrow;
use serde::Serialize;
use units::{Group, Place, Reader, groups};

/// What was done to a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Canonical {
    /// Hidden units that can move.
    pub n_units: usize,
    /// Of those, units that nothing reads or that are always the same, emptied.
    pub n_dead: usize,
    /// Weights, biases, scales and shifts that became zero with them.
    pub n_dropped: usize,
    /// For each group its places and the order of its units: the new first one was `order[0]`.
    #[serde(skip)]
    orders: Vec<(Group, Vec<usize>)>,
}

impl Canonical {
    /// Brings values that belong to the parameters, sensitivities for instance, into the same order; empty ones stay so.
    pub fn reorder(&self, network: &Network, values: &mut [Vec<f32>]) {
        for (group, order) in &self.orders {
            permute(network, group, order, |parameter, change| {
                if let Some(values) = values.get_mut(parameter).filter(|v| !v.is_empty()) {
                    change(values);
                }
            });
        }
    }
}

/// Entries of a parameter along its first axis, of a unit: `[from, from + len)`.
fn row_range(network: &Network, place: Place, unit: usize) -> std::ops::Range<usize> {
    let spec = network.parameters.get(place.parameter);
    let rest: usize = spec.map_or(1, |s| s.shape.iter().skip(1).product());
    let len = place.repeat * rest;
    let from = place.from * rest + unit * len;
    from..from + len
}

/// Stretches of a parameter that hold the columns of a unit.
fn column_ranges(
    network: &Network,
    place: Place,
    unit: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let shape = network
        .parameters
        .get(place.parameter)
        .map_or(&[][..], |s| &s.shape);
    let rows = shape.first().copied().unwrap_or(0);
    let kernel: usize = shape.iter().skip(2).product();
    let row = shape.get(1).copied().unwrap_or(0) * kernel;
    let len = place.repeat * kernel;
    let from = place.from * kernel + unit * len;
    (0..rows).map(move |r| r * row + from..r * row + from + len)
}

/// Puts the units of a group in an order, in everything that goes with them.
fn permute(
    network: &Network,
    group: &Group,
    order: &[usize],
    mut with: impl FnMut(usize, &mut dyn FnMut(&mut [f32])),
) {
    for &place in group.rows.iter().chain(&group.vectors) {
        with(place.parameter, &mut |values| {
            let before = values.to_vec();
            for (to, &from) in order.iter().enumerate() {
                copy(
                    values,
                    row_range(network, place, to),
                    &before,
                    row_range(network, place, from),
                );
            }
        });
    }
    for &Reader { place, .. } in &group.readers {
        with(place.parameter, &mut |values| {
            let before = values.to_vec();
            for (to, &from) in order.iter().enumerate() {
                let pairs = column_ranges(network, place, to).zip(column_ranges(network, place, from));
                pairs.for_each(|(to, from)| copy(values, to, &before, from));
            }
        });
    }
}

fn copy(to: &mut [f32], at: std::ops::Range<usize>, from: &[f32], range: std::ops::Range<usize>) {
    if let (Some(to), Some(from)) = (to.get_mut(at), from.get(range)) {
        to.copy_from_slice(from);
    }
}

fn n_alive(values: &[f32], range: std::ops::Range<usize>) -> usize {
    let values = values.get(range).unwrap_or_default();
    values.iter().filter(|w| **w != 0.0).count()
}

/// Weights that are not zero in the rows, and in the columns, of a unit.
fn counts(network: &Network, group: &Group, parameters: &Parameters, unit: usize) -> [usize; 2] {
    let rows = group.rows.iter();
    let rows = rows.map(|&p| n_alive(parameters.values(p.parameter), row_range(network, p, unit)));
    let columns = group.readers.iter().map(|&Reader { place, .. }| {
        let values = parameters.values(place.parameter);
        column_ranges(network, place, unit)
            .map(|range| n_alive(values, range))
            .sum::<usize>()
    });
    [rows.sum(), columns.sum()]
}

/// Sets a unit's entries to zero: how many were not.
fn empty(values: &mut [f32], range: std::ops::Range<usize>) -> usize {
    let n = n_alive(values, range.clone());
    if let Some(values) = values.get_mut(range) {
        values.fill(0.0);
    }
    n
}

/// Whether a parameter adds to a unit or multiplies it; running statistics of a unit that is zero matter no more.
fn is_learned(network: &Network, place: &Place) -> bool {
    let spec = network.parameters.get(place.parameter);
    spec.is_some_and(|s| s.role.is_trainable())
}

fn empty_producers(network: &Network, group: &Group, parameters: &mut Parameters, unit: usize) -> usize {
    let places = group.rows.iter().chain(&group.vectors);
    places
        .filter(|p| is_learned(network, p))
        .map(|&p| empty(parameters.values_mut(p.parameter), row_range(network, p, unit)))
        .sum()
}

fn empty_consumers(network: &Network, group: &Group, parameters: &mut Parameters, unit: usize) -> usize {
    let mut n = 0;
    for &Reader { place, .. } in &group.readers {
        for range in column_ranges(network, place, unit) {
            n += empty(parameters.values_mut(place.parameter), range);
        }
    }
    n
}

/// The value of a unit whose rows are all zero, before rectifiers, if it is known: its bias.
fn constant(network: &Network, group: &Group, parameters: &Parameters, unit: usize) -> Option<f32> {
    let learned = group.vectors.iter().filter(|p| is_learned(network, p));
    let mut vectors = learned.flat_map(|&p| {
        let values = parameters.values(p.parameter);
        values.get(row_range(network, p, unit)).unwrap_or_default()
    });
    if group.changed {
        // Sums, products and normalisation of nothing are nothing, if nothing is added.
        return vectors.all(|v| *v == 0.0).then_some(0.0);
    }
    Some(vectors.sum())
}

/// Adds what a constant unit gives its readers to their biases; false, and nothing done, if it gives something to one that has no
/// bias or pads its input.
fn move_constant(
    network: &Network,
    group: &Group,
    parameters: &mut Parameters,
    unit: usize,
    value: f32,
) -> bool {
    let bias = |node: usize| {
        let node = network.nodes.get(node)?;
        match node.op {
            Op::Conv(conv) if conv.padding == 0 => node.parameters.get(1).copied(),
            Op::Linear(_) => node.parameters.get(1).copied(),
            _ => None,
        }
    };
    let given = |r: &Reader| if r.rectified { value.max(0.0) } else { value };
    let readers: Vec<&Reader> = group.readers.iter().filter(|r| given(r) != 0.0).collect();
    let biases: Option<Vec<usize>> = readers.iter().map(|r| bias(r.node)).collect();
    let Some(biases) = biases else {
        return false;
    };
    for (reader, bias) in readers.into_iter().zip(biases) {
        let values = parameters.values(reader.place.parameter);
        let sums: Vec<f32> = column_ranges(network, reader.place, unit)
            .map(|range| values.get(range).unwrap_or_default().iter().sum())
            .collect();
        for (b, sum) in parameters.values_mut(bias).iter_mut().zip(sums) {
            *b += given(reader) * sum;
        }
    }
    true
}

/// Empties units without effect, until there are none, and sorts the others by their weights that are not zero, most first; those with
/// equally many stay in order.
///
/// A unit that nothing reads loses its weights and its entries in biases and normalisation. One without weights is always the
/// same: what it gives moves to the biases of its readers, if they have any, and its columns become zero. The network computes the
/// same, up to rounding in another order of summation. Names and shapes stay.
pub fn canon(network: &Network, parameters: &mut Parameters) -> Canonical {
    let groups = groups(network);
    let mut done = Canonical {
        n_units: groups.iter().map(|g| g.n).sum(),
        ..Canonical::default()
    };
    let mut dead: Vec<Vec<bool>> = groups.iter().map(|g| vec![false; g.n]).collect();
    loop {
        let before = done.n_dropped;
        for (group, dead) in groups.iter().zip(&mut dead) {
            for (unit, dead) in dead.iter_mut().enumerate() {
                let [rows, columns] = counts(network, group, parameters, unit);
                if columns == 0 {
                    done.n_dropped += empty_producers(network, group, parameters, unit);
                } else if rows == 0
                    && let Some(value) = constant(network, group, parameters, unit)
                    && move_constant(network, group, parameters, unit, value)
                {
                    done.n_dropped += empty_consumers(network, group, parameters, unit);
                    done.n_dropped += empty_producers(network, group, parameters, unit);
                } else {
                    continue;
                }
                *dead = true;
            }
        }
        if done.n_dropped == before {
            break;
        }
    }
    done.n_dead = dead.iter().flatten().filter(|d| **d).count();
    // The order of one group changes no count of another.
    for group in groups {
        let mut order: Vec<(usize, usize)> = (0..group.n)
            .map(|unit| {
                (
                    counts(network, &group, parameters, unit).iter().sum::<usize>(),
                    unit,
                )
            })
            .collect();
        order.sort_by_key(|&(n, _)| std::cmp::Reverse(n));
        let order: Vec<usize> = order.into_iter().map(|(_, unit)| unit).collect();
        permute(network, &group, &order, |parameter, change| {
            change(parameters.values_mut(parameter));
        });
        done.orders.push((group, order));
    }
    done
}
