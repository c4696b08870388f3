//! Which rows, columns and entries of parameters belong to one hidden unit: they can change places together.

use crate::graph::{Conv, Input, Linear, Network, Op};
use std::collections::HashMap;

/// Consecutive entries of a parameter's axis that belong to the units of a group, the same number to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) parameter: usize,
    /// First entry.
    pub(super) from: usize,
    /// Entries per unit.
    pub(super) repeat: usize,
}

/// A weight whose columns read units: `[out, in, ...]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) place: Place,
    /// The node that does.
    pub(super) node: usize,
    /// Whether it does so behind a rectifier.
    pub(super) rectified: bool,
}

/// Hidden units that can be put in any order, with everything that has to move with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Group {
    /// Number of units.
    pub(super) n: usize,
    /// Weights whose rows make the units: `[out, ...]`.
    pub(super) rows: Vec<Place>,
    /// Biases, scales, shifts and running statistics, one entry per unit.
    pub(super) vectors: Vec<Place>,
    /// What reads the units.
    pub(super) readers: Vec<Reader>,
    /// Whether they go through anything but rectifiers, pooling, dropout and flattening.
    pub(super) changed: bool,
}

/// A stretch of an output's channels: all units of a space, in order.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    space: usize,
    repeat: usize,
    rectified: bool,
}

/// Spaces under way, with those that turned out to be one.
#[derive(Default)]
struct Spaces {
    groups: Vec<Group>,
    parent: Vec<usize>,
    pinned: Vec<bool>,
}

impl Spaces {
    fn push(&mut self, n: usize, pinned: bool) -> usize {
        self.groups.push(Group {
            n,
            ..Group::default()
        });
        self.parent.push(self.parent.len());
        self.pinned.push(pinned);
        self.parent.len() - 1
    }

    fn root(&self, mut space: usize) -> usize {
        while let Some(&parent) = self.parent.get(space) {
            if parent == space {
                break;
            }
            space = parent;
        }
        space
    }

    fn group(&mut self, space: usize) -> Option<&mut Group> {
        let root = self.root(space);
        self.groups.get_mut(root)
    }

    fn n(&self, stretch: Stretch) -> usize {
        self.groups.get(self.root(stretch.space)).map_or(0, |g| g.n) * stretch.repeat
    }

    fn pin(&mut self, layout: &[Stretch]) {
        for stretch in layout {
            let root = self.root(stretch.space);
            if let Some(pinned) = self.pinned.get_mut(root) {
                *pinned = true;
            }
        }
    }

    /// Two outputs are combined element by element.
    fn join(&mut self, a: &[Stretch], b: &[Stretch]) {
        let alike = a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(a, b)| a.repeat == b.repeat && self.n(*a) == self.n(*b));
        if !alike {
            self.pin(a);
            self.pin(b);
            return;
        }
        for (a, b) in a.iter().zip(b) {
            let (a, b) = (self.root(a.space), self.root(b.space));
            if a == b {
                continue;
            }
            let from = self.groups.get_mut(b).map(std::mem::take).unwrap_or_default();
            let pinned = self.pinned.get(b).copied().unwrap_or(true);
            if let Some(slot) = self.parent.get_mut(b) {
                *slot = a;
            }
            if let Some(slot) = self.pinned.get_mut(a) {
                *slot |= pinned;
            }
            if let Some(group) = self.groups.get_mut(a) {
                group.rows.extend(from.rows);
                group.vectors.extend(from.vectors);
                group.readers.extend(from.readers);
                group.changed = true;
            }
        }
    }

    /// Columns of a weight read an output.
    fn read(&mut self, layout: &[Stretch], parameter: usize, node: usize) {
        let mut from = 0;
        for &stretch in layout {
            let place = Place {
                parameter,
                from,
                repeat: stretch.repeat,
            };
            from += self.n(stretch);
            if let Some(group) = self.group(stretch.space) {
                group.readers.push(Reader {
                    place,
                    node,
                    rectified: stretch.rectified,
                });
            }
        }
    }

    /// Entries of vectors go with an output's channels.
    fn go_with(&mut self, layout: &[Stretch], parameters: &[usize]) {
        let mut from = 0;
        for &stretch in layout {
            let n = self.n(stretch);
            if let Some(group) = self.group(stretch.space) {
                for &parameter in parameters {
                    group.vectors.push(Place {
                        parameter,
                        from,
                        repeat: stretch.repeat,
                    });
                }
            }
            from += n;
        }
    }

    /// An output of units of their own.
    fn made(&mut self, n: usize, pinned: bool) -> Vec<Stretch> {
        vec![Stretch {
            space: self.push(n, pinned),
            repeat: 1,
            rectified: false,
        }]
    }

    /// A weight with its bias, if it has one, between an output that it reads, of so many elements, and one that it makes.
    fn layer(
        &mut self,
        (mut read, n_inputs): (Vec<Stretch>, usize),
        made: &[Stretch],
        parameters: &[usize],
        node: usize,
    ) {
        // Of flattened images each channel is several inputs.
        let channels: usize = read.iter().map(|&s| self.n(s)).sum();
        let area = n_inputs / channels.max(1);
        if channels * area != n_inputs {
            self.pin(&read);
        }
        for stretch in &mut read {
            stretch.repeat *= area;
        }
        if let Some((&weight, rest)) = parameters.split_first() {
            self.read(&read, weight, node);
            self.go_with(made, rest);
            let place = Place {
                parameter: weight,
                from: 0,
                repeat: 1,
            };
            self.mark(made, |g| g.rows.push(place));
        }
    }

    fn mark(&mut self, layout: &[Stretch], change: impl Fn(&mut Group)) {
        for stretch in layout {
            if let Some(group) = self.group(stretch.space) {
                change(group);
            }
        }
    }
}

/// All groups of hidden units of a network that are free to move: not inputs, outputs, embeddings, heads of attention, or what meets
/// them in a sum.
pub(super) fn groups(network: &Network) -> Vec<Group> {
    let mut spaces = Spaces::default();
    let mut layouts: Vec<Vec<Stretch>> = Vec::new();
    let mut uses: HashMap<usize, usize> = HashMap::new();
    for parameter in network.nodes.iter().flat_map(|n| &n.parameters) {
        *uses.entry(*parameter).or_default() += 1;
    }
    for (index, node) in network.nodes.iter().enumerate() {
        let input = |at: usize| -> Vec<Stretch> {
            let layout = node.inputs.get(at).and_then(|&i| layouts.get(i));
            layout.cloned().unwrap_or_default()
        };
        let is_shared = node
            .parameters
            .iter()
            .any(|p| uses.get(p).is_some_and(|&n| n > 1));
        let layout = match node.op {
            Op::Input => match network.input {
                Input::Image([channels, ..]) => spaces.made(channels, true),
                Input::Tokens { .. } => spaces.made(1, true),
            },
            Op::Conv(Conv { inputs, outputs, .. }) | Op::Linear(Linear { inputs, outputs, .. }) => {
                if is_shared {
                    spaces.pin(&input(0));
                }
                let output = spaces.made(outputs, is_shared);
                spaces.layer((input(0), inputs), &output, &node.parameters, index);
                output
            }
            Op::BatchNorm(_) => {
                let layout = input(0);
                spaces.go_with(&layout, &node.parameters);
                spaces.mark(&layout, |g| g.changed = true);
                layout
            }
            Op::Relu => {
                let mut layout = input(0);
                for stretch in &mut layout {
                    stretch.rectified = true;
                }
                layout
            }
            Op::Silu => {
                let layout = input(0);
                spaces.mark(&layout, |g| g.changed = true);
                layout
            }
            Op::MaxPool(_) | Op::AveragePool(_) | Op::Flatten | Op::Dropout(_) => input(0),
            Op::Add | Op::Multiply => {
                spaces.join(&input(0), &input(1));
                spaces.mark(&input(0), |g| g.changed = true);
                input(0)
            }
            Op::Concat => [input(0), input(1)].concat(),
            Op::Shortcut { channels } => {
                spaces.pin(&input(0));
                spaces.made(channels, true)
            }
            Op::Embedding => {
                let width = node.parameters.first().and_then(|&p| network.parameters.get(p));
                let width = width.and_then(|p| p.shape.get(1)).copied().unwrap_or(0);
                spaces.made(width, true)
            }
            Op::RmsNorm { .. } => {
                spaces.pin(&input(0));
                input(0)
            }
            Op::Attention(attention) => {
                (0..3).for_each(|at| spaces.pin(&input(at)));
                spaces.made(attention.heads * attention.head_width, true)
            }
        };
        layouts.push(layout);
    }
    if let Some(last) = layouts.last().cloned() {
        spaces.pin(&last);
    }
    let free = |&space: &usize| spaces.root(space) == space && spaces.pinned.get(space) == Some(&false);
    (0..spaces.groups.len())
        .filter(free)
        .filter_map(|space| spaces.groups.get(space).cloned())
        .collect()
}
