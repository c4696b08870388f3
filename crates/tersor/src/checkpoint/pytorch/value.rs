//! What a pickle builds: values in one flat arena, so that no nesting can exhaust the stack.

use super::tensor::{StorageRef, TensorRef};
use std::borrow::Cow;

/// Index of a value in the arena.
pub(super) type Id = u32;

/// One value. Text and bytes borrow from the pickle where they can.
#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits; only the magic number of a legacy file is one.
    BigInt(Cow<'a, [u8]>),
    Float(f64),
    Str(Cow<'a, str>),
    /// Bytes; they never matter.
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// A set or frozenset; its items never matter.
    Set,
    Dict(Vec<(Id, Id)>),
    /// A class or function, by name only.
    Global(Global<'a>),
    Object(Box<Object>),
    Storage(Box<StorageRef<'a>>),
    Tensor(Box<TensorRef>),
}

/// Name of a class or function.
#[derive(Debug, Clone)]
pub(super) struct Global<'a> {
    pub(super) module: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
}

/// Something made by a class or function that this reader does not call.
#[derive(Debug)]
pub(super) struct Object {
    /// The class or function, a [`Value::Global`] in sound files.
    pub(super) class: Id,
    /// What it was called with.
    pub(super) args: Id,
    /// What it was built from afterwards.
    pub(super) state: Option<Id>,
    /// Entries set on it, if it acts as a dict.
    pub(super) items: Vec<(Id, Id)>,
    /// Entries appended to it, if it acts as a list.
    pub(super) list: Vec<Id>,
}

/// All values of one pickle.
#[derive(Debug, Default)]
pub(super) struct Arena<'a> {
    values: Vec<Value<'a>>,
}

/// Stands in for an index that does not exist, which the machine never makes.
static MISSING: Value<'static> = Value::None;

impl<'a> Arena<'a> {
    pub(super) fn values(&self) -> impl Iterator<Item = &Value<'a>> {
        self.values.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn add(&mut self, value: Value<'a>) -> Id {
        self.values.push(value);
        (self.values.len() - 1) as Id
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        self.values.get(id as usize).unwrap_or(&MISSING)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Value<'a>> {
        self.values.get_mut(id as usize)
    }

    pub(super) fn str(&self, id: Id) -> Option<&str> {
        if let Value::Str(text) = self.get(id) {
            Some(text)
        } else {
            None
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        if let Value::Int(n) = self.get(id) {
            Some(*n)
        } else {
            None
        }
    }

    pub(super) fn global(&self, id: Id) -> Option<&Global<'a>> {
        if let Value::Global(global) = self.get(id) {
            Some(global)
        } else {
            None
        }
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dict, or of an object that acts as one.
    pub(super) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(entries) => Some(entries),
            Value::Object(object) if !object.items.is_empty() => Some(&object.items),
            _ => None,
        }
    }

    /// A dict's value for a key of text.
    pub(super) fn entry(&self, id: Id, key: &str) -> Option<Id> {
        let mut entries = self.entries(id)?.iter().rev();
        entries
            .find(|(k, _)| self.str(*k) == Some(key))
            .map(|&(_, value)| value)
    }
}
