//! The pickle machine: a stack, a memo and an arena. It allocates in proportion to the pickle and calls nothing.

use super::{
    Flaw, opcode as op,
    rebuild::{self, Made},
    text,
    value::{Arena, Global, Id, Object, Value},
};
use std::{borrow::Cow, collections::HashMap};

/// Most values that one pickle may build. A state dict takes some 30 per tensor.
const MAX_VALUES: usize = 1 << 24;
/// Newest protocol.
const MAX_PROTOCOL: u8 = 5;

/// A pickle that was read: its root, its values, and how many bytes it took.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) arena: Arena<'a>,
    pub(super) root: Id,
    pub(super) size_bytes: usize,
}

/// Reads one pickle from the beginning of `bytes`.
pub(super) fn load(bytes: &[u8]) -> Result<Pickle<'_>, Flaw> {
    let mut machine = Machine {
        bytes,
        at: 0,
        arena: Arena::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        n_copied: 0,
    };
    match machine.run() {
        Ok(root) => Ok(Pickle {
            arena: machine.arena,
            root,
            size_bytes: machine.at,
        }),
        Err(Flaw::Corrupt(what)) => Err(Flaw::Corrupt(format!(
            "its pickle, at byte {}: {what}",
            machine.at
        ))),
        Err(flaw) => Err(flaw),
    }
}

fn corrupt<T>(what: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw::Corrupt(what.into()))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    arena: Arena<'a>,
    stack: Vec<Id>,
    /// Heights of the stack where a mark was set.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Entries copied from values, beside those in the arena.
    n_copied: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Flaw> {
        loop {
            let [code] = self.array()?;
            if code == op::STOP {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Result<(), Flaw> {
        match code {
            op::PROTO => {
                let [version] = self.array()?;
                if version > MAX_PROTOCOL {
                    return corrupt(format!("the protocol is {version}; 0..={MAX_PROTOCOL} are read"));
                }
            }
            op::FRAME => drop(self.array::<8>()?),
            op::MARK => self.marks.push(self.stack.len()),
            op::POP => {
                // A mark on top of the stack is popped in its place, as Python does.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            op::POP_MARK => drop(self.pop_to_mark()?),
            op::DUP => {
                let top = self.top()?;
                self.stack.push(top);
            }
            op::PERSID => return corrupt("a persistent id as text, which PyTorch does not write"),
            op::EXT1 | op::EXT2 | op::EXT4 => return corrupt("it refers to Python's extension registry"),
            op::NEXT_BUFFER | op::READONLY_BUFFER => {
                return corrupt("it refers to buffers outside the pickle");
            }
            op::GET | op::BINGET | op::LONG_BINGET | op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => {
                self.memo_step(code)?;
            }
            op::APPEND | op::APPENDS | op::ADDITEMS | op::SETITEM | op::SETITEMS | op::BUILD => {
                self.change_step(code)?;
            }
            op::GLOBAL
            | op::STACK_GLOBAL
            | op::REDUCE
            | op::NEWOBJ
            | op::NEWOBJ_EX
            | op::INST
            | op::OBJ
            | op::BINPERSID => self.object_step(code)?,
            op::TUPLE
            | op::TUPLE1
            | op::TUPLE2
            | op::TUPLE3
            | op::EMPTY_TUPLE
            | op::LIST
            | op::EMPTY_LIST
            | op::DICT
            | op::EMPTY_DICT
            | op::EMPTY_SET
            | op::FROZENSET => self.container_step(code)?,
            _ => {
                let value = self.scalar(code)?;
                self.push(value)?;
            }
        }
        Ok(())
    }

    /// The value of an opcode that carries it with it.
    fn scalar(&mut self, code: u8) -> Result<Value<'a>, Flaw> {
        Ok(match code {
            op::NONE => Value::None,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::INT => match self.line()? {
                b"00" => Value::Bool(false),
                b"01" => Value::Bool(true),
                digits => decimal(digits)?,
            },
            op::LONG => {
                let line = self.line()?;
                decimal(line.strip_suffix(b"L").unwrap_or(line))?
            }
            op::BININT => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            op::BININT1 => Value::Int(i64::from(u8::from_le_bytes(self.array()?))),
            op::BININT2 => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            op::LONG1 | op::LONG4 => {
                let bytes = if code == op::LONG1 {
                    self.counted::<1>()?
                } else {
                    self.counted::<4>()?
                };
                text::long(bytes).map_or(Value::BigInt(bytes.into()), Value::Int)
            }
            op::FLOAT => {
                let text = std::str::from_utf8(self.line()?).ok();
                match text.and_then(|text| text.trim().parse().ok()) {
                    Some(number) => Value::Float(number),
                    None => return corrupt("a decimal fraction is no number"),
                }
            }
            op::BINFLOAT => Value::Float(f64::from_be_bytes(self.array()?)),
            op::STRING => match text::unquote(self.line()?) {
                Some(bytes) => owned_text(bytes),
                None => return corrupt("a quoted string is not as Python writes it"),
            },
            op::BINSTRING | op::BINUNICODE => borrowed_text(self.counted::<4>()?),
            op::SHORT_BINSTRING | op::SHORT_BINUNICODE => borrowed_text(self.counted::<1>()?),
            op::UNICODE => match text::unescape(self.line()?) {
                Some(text) => Value::Str(text),
                None => return corrupt("an escaped string is not as Python writes it"),
            },
            op::BINUNICODE8 => borrowed_text(self.counted::<8>()?),
            op::SHORT_BINBYTES => bytes(self.counted::<1>()?),
            op::BINBYTES => bytes(self.counted::<4>()?),
            op::BINBYTES8 | op::BYTEARRAY8 => bytes(self.counted::<8>()?),
            _ => return corrupt(format!("unknown opcode {code:#04x}")),
        })
    }

    fn memo_step(&mut self, code: u8) -> Result<(), Flaw> {
        let slot = match code {
            op::MEMOIZE => self.memo.len() as u32,
            op::BINGET | op::BINPUT => u32::from(u8::from_le_bytes(self.array()?)),
            op::LONG_BINGET | op::LONG_BINPUT => u32::from_le_bytes(self.array()?),
            _ => match decimal(self.line()?)? {
                Value::Int(n) => u32::try_from(n).or_else(|_| corrupt(format!("memo slot {n}")))?,
                _ => return corrupt("a memo slot is no number"),
            },
        };
        if matches!(code, op::GET | op::BINGET | op::LONG_BINGET) {
            let Some(&id) = self.memo.get(&slot) else {
                return corrupt(format!("memo slot {slot} is empty"));
            };
            self.stack.push(id);
        } else {
            let top = self.top()?;
            self.memo.insert(slot, top);
        }
        Ok(())
    }

    fn container_step(&mut self, code: u8) -> Result<(), Flaw> {
        let value = match code {
            op::EMPTY_TUPLE => Value::Tuple(Vec::new()),
            op::EMPTY_LIST => Value::List(Vec::new()),
            op::EMPTY_DICT => Value::Dict(Vec::new()),
            op::EMPTY_SET => Value::Set,
            op::TUPLE1 => Value::Tuple(self.pop_n(1)?),
            op::TUPLE2 => Value::Tuple(self.pop_n(2)?),
            op::TUPLE3 => Value::Tuple(self.pop_n(3)?),
            op::TUPLE => Value::Tuple(self.pop_to_mark()?),
            op::LIST => Value::List(self.pop_to_mark()?),
            op::DICT => Value::Dict(pairs(&self.pop_to_mark()?)?),
            _ => {
                self.pop_to_mark()?;
                Value::Set
            }
        };
        self.push(value)
    }

    /// Opcodes that add to the value below their arguments.
    fn change_step(&mut self, code: u8) -> Result<(), Flaw> {
        match code {
            op::APPEND | op::APPENDS | op::ADDITEMS => {
                let items = if code == op::APPEND {
                    self.pop_n(1)?
                } else {
                    self.pop_to_mark()?
                };
                let target = self.top()?;
                match self.arena.get_mut(target) {
                    Some(Value::List(list)) if code != op::ADDITEMS => list.extend(items),
                    Some(Value::Object(object)) => object.list.extend(items),
                    Some(Value::Set) => {}
                    _ => return corrupt("items are added to a value that holds none"),
                }
            }
            op::SETITEM | op::SETITEMS => {
                let items = if code == op::SETITEM {
                    self.pop_n(2)?
                } else {
                    self.pop_to_mark()?
                };
                let entries = pairs(&items)?;
                let target = self.top()?;
                match self.arena.get_mut(target) {
                    Some(Value::Dict(dict)) => dict.extend(entries),
                    Some(Value::Object(object)) => object.items.extend(entries),
                    _ => return corrupt("entries are set on a value that holds none"),
                }
            }
            _ => {
                let state = self.pop()?;
                let target = self.top()?;
                // Attributes of a dict (`_metadata`) or tensor (Python's own) are no weights.
                if let Some(Value::Object(object)) = self.arena.get_mut(target) {
                    object.state = Some(state);
                }
            }
        }
        Ok(())
    }

    /// Opcodes that name, make or refer to objects.
    fn object_step(&mut self, code: u8) -> Result<(), Flaw> {
        let made = match code {
            op::GLOBAL => Made::New(Value::Global(self.global()?)),
            op::STACK_GLOBAL => {
                let name = self.pop_text()?;
                let module = self.pop_text()?;
                Made::New(Value::Global(Global { module, name }))
            }
            op::BINPERSID => {
                let id = self.pop()?;
                Made::New(rebuild::storage(&self.arena, id)?)
            }
            op::INST | op::OBJ => {
                let mut args = self.pop_to_mark()?;
                let class = if code == op::INST {
                    let class = self.global()?;
                    self.add(Value::Global(class))?
                } else if args.is_empty() {
                    return corrupt("an object without a class");
                } else {
                    args.remove(0)
                };
                let args = self.add(Value::Tuple(args))?;
                self.call(class, args)?
            }
            op::NEWOBJ_EX => {
                self.pop()?;
                self.make()?
            }
            _ => self.make()?,
        };
        match made {
            Made::New(value) => self.push(value),
            Made::Same(id) => {
                self.stack.push(id);
                Ok(())
            }
        }
    }

    fn make(&mut self) -> Result<Made<'a>, Flaw> {
        let args = self.pop()?;
        let class = self.pop()?;
        self.call(class, args)
    }

    /// What calling `class` would give: built here if it is known, else opaque.
    fn call(&mut self, class: Id, args: Id) -> Result<Made<'a>, Flaw> {
        let made = rebuild::call(&self.arena, class, args);
        if let Some(Made::New(Value::Dict(entries))) = &made {
            self.n_copied += entries.len(); // the same list may be copied again and again
            self.check_size()?;
        }
        let opaque = || Object {
            class,
            args,
            state: None,
            items: Vec::new(),
            list: Vec::new(),
        };
        Ok(made.unwrap_or_else(|| Made::New(Value::Object(Box::new(opaque())))))
    }

    fn global(&mut self) -> Result<Global<'a>, Flaw> {
        let (module, name) = (self.line()?, self.line()?);
        match (std::str::from_utf8(module), std::str::from_utf8(name)) {
            (Ok(module), Ok(name)) => Ok(Global {
                module: module.into(),
                name: name.into(),
            }),
            _ => corrupt("the name of a class is not UTF-8"),
        }
    }

    fn add(&mut self, value: Value<'a>) -> Result<Id, Flaw> {
        self.check_size()?;
        Ok(self.arena.add(value))
    }

    fn check_size(&self) -> Result<(), Flaw> {
        if self.arena.len() + self.n_copied < MAX_VALUES {
            return Ok(());
        }
        corrupt(format!("it builds more than {MAX_VALUES} values"))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Flaw> {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    /// Where the stack may not be popped below: the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Flaw> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => corrupt("the stack is empty"),
        }
    }

    fn pop(&mut self) -> Result<Id, Flaw> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_n(&mut self, n: usize) -> Result<Vec<Id>, Flaw> {
        match self.stack.len().checked_sub(n) {
            Some(start) if start >= self.floor() => Ok(self.stack.split_off(start)),
            _ => corrupt("the stack is empty"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Flaw> {
        match self.marks.pop() {
            Some(start) if start <= self.stack.len() => {
                let items = self.stack.drain(start..).collect(); // exact capacity: split_off would keep the stack's
                Ok(items)
            }
            _ => corrupt("there is no mark on the stack"),
        }
    }

    fn pop_text(&mut self) -> Result<Cow<'a, str>, Flaw> {
        let id = self.pop()?;
        match self.arena.get(id) {
            Value::Str(text) if text.len() <= 256 => Ok(text.clone()),
            _ => corrupt("the name of a class is no text, or too long"),
        }
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], Flaw> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        match end.and_then(|end| Some((end, self.bytes.get(self.at..end)?))) {
            Some((end, bytes)) => {
                self.at = end;
                Ok(bytes)
            }
            None => corrupt(format!(
                "{n} bytes are needed, {} are left",
                self.bytes.len() - self.at
            )),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let bytes = self.take(N as u64)?;
        bytes.try_into().or_else(|_| corrupt("it ends too early"))
    }

    /// Bytes after their own count of `N` bytes.
    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], Flaw> {
        let count: [u8; N] = self.array()?;
        let mut wide = [0u8; 8];
        wide.iter_mut().zip(count).for_each(|(to, from)| *to = from);
        self.take(u64::from_le_bytes(wide))
    }

    /// The bytes before the next line feed.
    fn line(&mut self) -> Result<&'a [u8], Flaw> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|&b| b == b'\n') else {
            return corrupt("a line has no end");
        };
        let line = rest.get(..end).unwrap_or_default();
        self.at += end + 1;
        Ok(line)
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Flaw> {
    match items.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => corrupt("a dict has a key without a value"),
    }
}

fn decimal(digits: &[u8]) -> Result<Value<'static>, Flaw> {
    let parsed = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    parsed.map_or_else(
        || corrupt("a decimal integer is no number of 64 bits"),
        |n| Ok(Value::Int(n)),
    )
}

fn bytes(_: &[u8]) -> Value<'static> {
    Value::Bytes
}

/// Python 2's strings are bytes, and Python 3 writes lone surrogates too; where they are UTF-8 they are text here.
fn borrowed_text(bytes: &[u8]) -> Value<'_> {
    std::str::from_utf8(bytes).map_or_else(|_| Value::Bytes, |text| Value::Str(text.into()))
}

fn owned_text(bytes: Vec<u8>) -> Value<'static> {
    String::from_utf8(bytes).map_or_else(|_| Value::Bytes, |text| Value::Str(text.into()))
}
