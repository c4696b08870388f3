//! Which part of a checkpoint is the weights.

use super::optimizer;
use super::value::{Arena, Id, Value};
use std::collections::HashSet;

/// Deepest dict that is looked at: `checkpoint["model"]["state_dict"]` is the second.
const MAX_DEPTH: usize = 4;
/// Among dicts with equally many bytes of tensors, the first of these keys is taken, then the first in the file.
const PREFERRED: [&str; 10] = [
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "params",
    "weights",
    "ema",
    "model_ema",
];
/// Entries that hold the state of the training, never the weights.
const TRAINING: [&str; 9] = [
    "optimizer",
    "optimizers",
    "optimizer_state_dict",
    "optim",
    "optimizer_states",
    "scheduler",
    "lr_scheduler",
    "scaler",
    "grad_scaler",
];

/// A dict of tensors.
#[derive(Debug)]
pub(super) struct StateDict {
    /// Keys that lead to it from the root.
    pub(super) path: Vec<String>,
    /// Names and tensors in order.
    pub(super) tensors: Vec<(String, Id)>,
    /// Entries that are no tensors.
    pub(super) others: Vec<String>,
    /// Entries beside its path that hold something.
    pub(super) siblings: Vec<String>,
    /// The root is a tensor itself.
    pub(super) is_lone_tensor: bool,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    Weights(StateDict),
    /// The weights are inside a pickled module; its class and the keys that lead to it.
    Module {
        class: String,
        path: Vec<String>,
    },
    /// There are no tensors in dicts.
    Nothing,
}

struct Search<'s, 'a> {
    arena: &'s Arena<'a>,
    /// Bytes of a tensor, 0 if it has no numbers.
    size_bytes: &'s dyn Fn(Id) -> u64,
    seen: HashSet<Id>,
    /// Dicts that hold tensors: bytes, path, id.
    dicts: Vec<(u64, Vec<Id>, Id)>,
    /// Pickled modules: path, id.
    modules: Vec<(Vec<Id>, Id)>,
}

/// Finds the dict with the most bytes of tensors.
pub(super) fn find(arena: &Arena<'_>, root: Id, size_bytes: &dyn Fn(Id) -> u64) -> Found {
    if let Value::Tensor(_) = arena.get(root) {
        let tensors = vec![("tensor".to_owned(), root)];
        return Found::Weights(StateDict {
            path: Vec::new(),
            tensors,
            others: Vec::new(),
            siblings: Vec::new(),
            is_lone_tensor: true,
        });
    }
    let mut search = Search {
        arena,
        size_bytes,
        seen: HashSet::new(),
        dicts: Vec::new(),
        modules: Vec::new(),
    };
    search.visit(root, &mut Vec::new());
    let preference = |path: &[Id]| {
        let key = path.last().and_then(|&id| arena.str(id));
        // A dict at the root has no key, and comes first.
        key.map_or(0, |key| {
            1 + PREFERRED
                .iter()
                .position(|&p| p == key)
                .unwrap_or(PREFERRED.len())
        })
    };
    // `max_by_key` takes the last of equals, so the order is reversed.
    let rank = |(bytes, path, _): &&(u64, Vec<Id>, Id)| (*bytes, std::cmp::Reverse(preference(path)));
    let best = search.dicts.iter().rev().max_by_key(rank);
    for (path, id) in &search.modules {
        if best.is_none_or(|(bytes, _, _)| reachable_bytes(arena, *id, size_bytes) > *bytes) {
            return Found::Module {
                class: class_name(arena, *id),
                path: texts(arena, path),
            };
        }
    }
    let Some((_, path, id)) = best else {
        return Found::Nothing;
    };
    let mut found = StateDict {
        path: texts(arena, path),
        tensors: Vec::new(),
        others: Vec::new(),
        siblings: Vec::new(),
        is_lone_tensor: false,
    };
    for &(key, value) in arena.entries(*id).unwrap_or_default() {
        match (arena.str(key), arena.get(value)) {
            (Some(name), Value::Tensor(_)) => found.tensors.push((name.to_owned(), value)),
            _ => found.others.push(label(arena, key)),
        }
    }
    let mut dict = root;
    for &step in path {
        let entries = arena.entries(dict).unwrap_or_default();
        found.siblings.extend(
            entries
                .iter()
                .filter(|&&(key, _)| key != step)
                .map(|&(key, _)| label(arena, key)),
        );
        dict = entries
            .iter()
            .find(|&&(key, _)| key == step)
            .map_or(dict, |&(_, value)| value);
    }
    Found::Weights(found)
}

impl Search<'_, '_> {
    fn visit(&mut self, id: Id, path: &mut Vec<Id>) {
        if path.len() > MAX_DEPTH || !self.seen.insert(id) {
            return;
        }
        let arena = self.arena;
        if is_module(arena, id) {
            self.modules.push((path.clone(), id));
            return;
        }
        let Some(entries) = arena.entries(id) else { return };
        if optimizer::is_state(arena, id) {
            return;
        }
        let is_tensor = |&&(key, value): &&(Id, Id)| {
            arena.str(key).is_some() && matches!(arena.get(value), Value::Tensor(_))
        };
        let mut tensors = entries.iter().filter(is_tensor).peekable();
        if tensors.peek().is_some() {
            let bytes = tensors.fold(0u64, |sum, &(_, value)| {
                sum.saturating_add((self.size_bytes)(value))
            });
            self.dicts.push((bytes, path.clone(), id));
        }
        for &(key, value) in entries {
            if arena.str(key).is_some_and(|key| !TRAINING.contains(&key)) {
                path.push(key);
                self.visit(value, path);
                path.pop();
            }
        }
    }
}

/// Whether an object is a pickled `torch.nn.Module`: only those are built from `_parameters` and `_modules`.
fn is_module(arena: &Arena<'_>, id: Id) -> bool {
    let Value::Object(object) = arena.get(id) else {
        return false;
    };
    let has = |key| {
        object
            .state
            .is_some_and(|state| arena.entry(state, key).is_some())
    };
    has("_parameters") || has("_modules")
}

/// Bytes of all tensors inside an object.
fn reachable_bytes(arena: &Arena<'_>, id: Id, size_bytes: &dyn Fn(Id) -> u64) -> u64 {
    let mut seen = HashSet::from([id]);
    let mut waiting = vec![id];
    let mut sum = 0u64;
    while let Some(id) = waiting.pop() {
        let mut next = |id: Id| {
            if seen.insert(id) {
                waiting.push(id);
            }
        };
        match arena.get(id) {
            Value::Tensor(_) => sum = sum.saturating_add(size_bytes(id)),
            Value::Tuple(items) | Value::List(items) => items.iter().for_each(|&id| next(id)),
            Value::Dict(entries) => entries.iter().for_each(|&(_, value)| next(value)),
            Value::Object(object) => {
                object.state.into_iter().for_each(&mut next);
                object.items.iter().for_each(|&(_, value)| next(value));
                object.list.iter().for_each(|&id| next(id));
            }
            _ => {}
        }
    }
    sum
}

fn class_name(arena: &Arena<'_>, id: Id) -> String {
    let Value::Object(object) = arena.get(id) else {
        return String::new();
    };
    // `copyreg._reconstructor(class, ...)` and `object.__new__` have the class as their first argument.
    let first = arena
        .items(object.args)
        .and_then(|args| args.first())
        .and_then(|&id| arena.global(id));
    match arena.global(object.class) {
        Some(class) if class.module.contains("copy") => first.or(Some(class)),
        other => other,
    }
    .map_or_else(String::new, |class| format!("{}.{}", class.module, class.name))
}

fn texts(arena: &Arena<'_>, ids: &[Id]) -> Vec<String> {
    ids.iter()
        .filter_map(|&id| arena.str(id))
        .map(str::to_owned)
        .collect()
}

/// An entry's key, for people.
fn label(arena: &Arena<'_>, key: Id) -> String {
    match arena.get(key) {
        Value::Str(text) => format!("{text:?}"),
        Value::Int(n) => n.to_string(),
        _ => "an entry without a name".to_owned(),
    }
}
