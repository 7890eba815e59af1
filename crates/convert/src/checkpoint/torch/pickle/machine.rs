//! The opcodes.

use super::{
    super::globals::{self, Global},
    NAME, Object, Pickle, RANK, Row, Span, Storage, Tensor, VALUES, Value, size,
};

/// The stack and the memo of a pickle that is being read.
pub(super) struct Machine<'a> {
    pub(super) pickle: Pickle<'a>,
    script: bool,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    memoized: usize,
    /// Values made, and marks.
    made: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(pickle: Pickle<'a>, script: bool) -> Self {
        Self { pickle, script, stack: Vec::new(), marks: Vec::new(), memo: Vec::new(), memoized: 0, made: 0 }
    }

    /// Follows the opcodes to the end.
    ///
    /// # Errors
    /// What is wrong with them, on one line.
    pub(super) fn run(&mut self) -> Result<Value, String> {
        let protocol = match self.take(2)? {
            [0x80, protocol] => *protocol,
            _ => return Err("not a pickle that PyTorch writes: expected protocol 2 to 5, found none".into()),
        };
        if !(2..=5).contains(&protocol) {
            return Err(format!("expected pickle protocol 2 to 5, found {protocol}"));
        }
        loop {
            let at = self.pickle.end;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop(at);
            }
            self.step(opcode, at)?;
        }
    }

    fn step(&mut self, opcode: u8, at: usize) -> Result<(), String> {
        match opcode {
            b'(' => {
                self.count()?;
                self.marks.push(self.stack.len());
            }
            b'0' => {
                self.pop(at)?;
            }
            b'1' => {
                let mark = self.mark(at)?;
                self.stack.truncate(mark);
            }
            b'2' => {
                let value = self.top(at)?;
                self.push(value)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'K' | b'M' | b'J' | 0x8a | 0x8b => self.integer(opcode)?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Opaque)?;
            }
            // Python 2 has its texts in the three of byte strings.
            b'X' | 0x8c | 0x8d | b'T' | b'U' => {
                let text = self.counted(match opcode {
                    b'X' | b'T' => 4,
                    0x8d => 8,
                    _ => 1,
                })?;
                self.push(Value::Text(text))?;
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                self.counted(match opcode {
                    b'B' => 4,
                    b'C' => 1,
                    _ => 8,
                })?;
                self.push(Value::Opaque)?;
            }
            b')' => self.tuple(self.stack.len())?,
            b't' => {
                let mark = self.mark(at)?;
                self.tuple(mark)?;
            }
            0x85..=0x87 => {
                let from = self.beneath(usize::from(opcode - 0x84), at)?;
                self.tuple(from)?;
            }
            b']' | b'}' => {
                let row = self.container()?;
                self.push(if opcode == b']' { Value::List(row) } else { Value::Dict(row) })?;
            }
            0x8f => self.push(Value::Opaque)?,
            0x91 => {
                let mark = self.mark(at)?;
                self.stack.truncate(mark);
                self.push(Value::Opaque)?;
            }
            b'a' | b'e' | 0x90 | b's' | b'u' => self.extend(opcode, at)?,
            b'c' | 0x93 => self.global(opcode, at)?,
            b'R' | 0x81 | 0x92 => self.call(opcode, at)?,
            b'b' => self.build(at)?,
            b'Q' => self.persistent(at)?,
            b'q' | b'r' | 0x94 => self.memoize(opcode, at)?,
            b'h' | b'j' => {
                let index = self.number(if opcode == b'h' { 1 } else { 4 })?;
                let value = self.memo.get(index).copied().flatten();
                self.push(value.ok_or_else(|| broken(at, &format!("number {index} was never memoized")))?)?;
            }
            // A frame's length says nothing that its opcodes do not.
            0x95 => {
                self.take(8)?;
            }
            other => {
                return Err(format!("the pickle has the opcode {} at byte {at}, which no state dict needs", opcode_name(other)));
            }
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let rest = &self.pickle.bytes[self.pickle.end..];
        match rest.get(..length) {
            Some(taken) => {
                self.pickle.end += length;
                Ok(taken)
            }
            None => {
                self.pickle.end = self.pickle.bytes.len();
                Err(format!("the pickle is truncated: it ends after {} bytes; get the file again", self.pickle.end))
            }
        }
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned number of up to 8 bytes.
    fn number(&mut self, length: usize) -> Result<usize, String> {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(self.take(length)?);
        // What no usize holds is beyond any file too.
        Ok(usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX))
    }

    /// Bytes after their length.
    fn counted(&mut self, width: usize) -> Result<Span, String> {
        let length = self.number(width)?;
        let start = self.pickle.end;
        self.take(length)?;
        Ok(Span { start: start as u32, length: length as u32 })
    }

    fn integer(&mut self, opcode: u8) -> Result<(), String> {
        let value = match opcode {
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            b'J' => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            _ => {
                let span = self.counted(if opcode == 0x8a { 1 } else { 4 })?;
                let digits = &self.pickle.bytes[span.range()];
                if digits.len() > 8 {
                    Value::Long(span)
                } else {
                    let sign = if digits.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
                    let mut bytes = [sign; 8];
                    bytes[..digits.len()].copy_from_slice(digits);
                    Value::Int(i64::from_le_bytes(bytes))
                }
            }
        };
        self.push(value)
    }

    fn count(&mut self) -> Result<(), String> {
        self.made += 1;
        if self.made > VALUES {
            return Err(format!("the pickle makes more than {VALUES} values; is it a checkpoint?"));
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self, at: usize) -> Result<Value, String> {
        let from = self.beneath(1, at)?;
        let value = self.stack[from];
        self.stack.truncate(from);
        Ok(value)
    }

    fn top(&self, at: usize) -> Result<Value, String> {
        Ok(self.stack[self.beneath(1, at)?])
    }

    /// Where the uppermost `count` values start, which have to lie above the last mark.
    fn beneath(&self, count: usize, at: usize) -> Result<usize, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(count).filter(|from| *from >= floor);
        from.ok_or_else(|| broken(at, "the stack is empty"))
    }

    fn mark(&mut self, at: usize) -> Result<usize, String> {
        self.marks.pop().ok_or_else(|| broken(at, "there is no mark"))
    }

    /// Replaces the values from `from` on by a tuple of them.
    fn tuple(&mut self, from: usize) -> Result<(), String> {
        let start = self.pickle.items.len();
        self.pickle.items.extend(self.stack.drain(from..));
        let length = self.pickle.items.len() - start;
        self.push(Value::Tuple(Span { start: start as u32, length: length as u32 }))
    }

    fn container(&mut self) -> Result<Row, String> {
        self.pickle.containers.push(Vec::new());
        Ok((self.pickle.containers.len() - 1) as Row)
    }

    /// Appends to a list or sets items of a dict.
    fn extend(&mut self, opcode: u8, at: usize) -> Result<(), String> {
        let from = match opcode {
            b'a' => self.beneath(1, at)?,
            b's' => self.beneath(2, at)?,
            _ => self.mark(at)?,
        };
        let of_dict = matches!(opcode, b's' | b'u');
        let target = from.checked_sub(1).filter(|index| *index >= self.marks.last().copied().unwrap_or(0));
        let target = self.stack[target.ok_or_else(|| broken(at, "the stack is empty"))?];
        match target {
            Value::Dict(_) if of_dict && !(self.stack.len() - from).is_multiple_of(2) => {
                return Err(broken(at, "a key has no value"));
            }
            Value::Dict(row) if of_dict => self.pickle.containers[row as usize].extend(self.stack.drain(from..)),
            Value::List(row) if !of_dict => self.pickle.containers[row as usize].extend(self.stack.drain(from..)),
            Value::Opaque => self.stack.truncate(from),
            other => {
                let wanted = if of_dict { "dict" } else { "list" };
                return Err(broken(at, &format!("expected a {wanted} to extend, found {}", self.pickle.shown(other))));
            }
        }
        Ok(())
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = &self.pickle.bytes[self.pickle.end..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        // Without an end, more than there is.
        let line = self.take(length.map_or(rest.len() + 1, |length| length + 1))?;
        Ok(&line[..line.len() - 1])
    }

    fn global(&mut self, opcode: u8, at: usize) -> Result<(), String> {
        if opcode == b'c' {
            let start = self.pickle.end;
            let (module, name) = (self.line()?, self.line()?);
            let (module, name) = (String::from_utf8_lossy(module), String::from_utf8_lossy(name));
            let global = if self.script && (module == "__torch__" || module.starts_with("__torch__.")) {
                Global::Script(Span { start: start as u32, length: (self.pickle.end - 1 - start) as u32 })
            } else {
                globals::resolve(&module, &name)?
            };
            return self.push(Value::Global(global));
        }
        let (name, module) = (self.pop(at)?, self.pop(at)?);
        let (Some(module), Some(name)) = (self.pickle.text(module), self.pickle.text(name)) else {
            return Err(broken(at, "expected the texts of a module and a name"));
        };
        self.push(Value::Global(globals::resolve(module, name)?))
    }

    /// REDUCE, NEWOBJ and NEWOBJ_EX: what the named function would have made.
    fn call(&mut self, opcode: u8, at: usize) -> Result<(), String> {
        if opcode == 0x92 {
            self.pop(at)?;
        }
        let (arguments, callee) = (self.pop(at)?, self.pop(at)?);
        let (Value::Global(global), Value::Tuple(arguments)) = (callee, arguments) else {
            let found = self.pickle.shown(callee);
            return Err(broken(at, &format!("expected a function and a tuple of arguments, found {found}")));
        };
        let first = self.pickle.items[arguments.range()].first().copied();
        let value = match global {
            Global::Tensor { typed } => self.tensor(arguments, typed, at)?,
            Global::First => first.ok_or_else(|| broken(at, "an argument is missing"))?,
            Global::Dict if first.is_none() => Value::Dict(self.container()?),
            Global::Script(class) if opcode == 0x81 => {
                self.pickle.objects.push(Object { class, attributes: None });
                Value::Object((self.pickle.objects.len() - 1) as Row)
            }
            // A named tuple or an enumeration.
            Global::Script(_) | Global::Inert => Value::Opaque,
            Global::Dict | Global::Storage(_) | Global::Dtype(_) => {
                return Err(broken(at, "expected a function of these arguments, found another"));
            }
        };
        self.push(value)
    }

    /// Storage, offset, shape, strides; then whether it needs gradients, hooks, the type, metadata.
    fn tensor(&mut self, arguments: Span, typed: bool, at: usize) -> Result<Value, String> {
        let wrong = |what: String| broken(at, &format!("a tensor's {what}"));
        let arguments = &self.pickle.items[arguments.range()];
        let [storage, offset, shape, strides, rest @ ..] = arguments else {
            return Err(wrong(format!("arguments are {}, fewer than 4", arguments.len())));
        };
        let Value::Storage(storage) = *storage else {
            return Err(wrong(format!("storage is {}", self.pickle.shown(*storage))));
        };
        let Some(offset) = size(*offset) else {
            return Err(wrong(format!("offset is {}, expected a whole number", self.pickle.shown(*offset))));
        };
        let (Value::Tuple(shape), Value::Tuple(strides)) = (*shape, *strides) else {
            return Err(wrong(format!("shape is {}, its strides {}", self.pickle.shown(*shape), self.pickle.shown(*strides))));
        };
        if shape.length > RANK {
            return Err(wrong(format!("dimensions are {}, more than {RANK}", shape.length)));
        }
        // A view that negates or conjugates says so.
        if let Some(Value::Dict(metadata)) = rest.get(if typed { 3 } else { 2 })
            && !self.pickle.containers[*metadata as usize].is_empty()
        {
            return Err("a tensor is a negated or conjugated view, which is not read; save a copy of it".into());
        }
        let dtype = match rest.get(2) {
            Some(Value::Global(Global::Dtype(dtype))) if typed => Some(*dtype),
            _ if typed => return Err(wrong("type is missing".into())),
            _ => self.pickle.storages[storage as usize].dtype,
        };
        self.pickle.tensors.push(Tensor { storage, dtype, offset, shape, strides });
        Ok(Value::Tensor((self.pickle.tensors.len() - 1) as Row))
    }

    /// State for the object beneath it: attributes of a TorchScript object, and of no interest otherwise.
    fn build(&mut self, at: usize) -> Result<(), String> {
        let state = self.pop(at)?;
        match self.top(at)? {
            Value::Object(row) => {
                let object = &mut self.pickle.objects[row as usize];
                if object.attributes.is_some() {
                    return Err(broken(at, "an object is built twice"));
                }
                if let Value::Dict(attributes) = state {
                    object.attributes = Some(attributes);
                }
            }
            // Such as a state dict's `_metadata`.
            Value::Dict(_) | Value::Opaque | Value::Tensor(_) => {}
            other => return Err(broken(at, &format!("expected an object to build, found {}", self.pickle.shown(other)))),
        }
        Ok(())
    }

    /// `("storage", class, key, location, count)`, and a view's key, offset and count in the pre-zip format.
    fn persistent(&mut self, at: usize) -> Result<(), String> {
        let wrong = |what: &str| broken(at, &format!("expected the persistent id of a storage, {what}"));
        let Value::Tuple(id) = self.pop(at)? else { return Err(wrong("found no tuple")) };
        let (kind, rest) = match &self.pickle.items[id.range()] {
            [kind, rest @ ..] => (*kind, rest),
            [] => return Err(wrong("found an empty tuple")),
        };
        if self.pickle.is(kind, "module") {
            return Err("the pickle is a whole module; load it in Python and save its state_dict()".into());
        }
        if !self.pickle.is(kind, "storage") {
            return Err(wrong(&format!("found {}", self.pickle.shown(kind))));
        }
        let [class, key, _location, count, more @ ..] = rest else { return Err(wrong("found too few parts")) };
        let Value::Global(Global::Storage(dtype)) = *class else {
            return Err(wrong(&format!("of a known class, found {}", self.pickle.shown(*class))));
        };
        let Value::Text(key) = *key else {
            return Err(wrong(&format!("with a text for a key, found {}", self.pickle.shown(*key))));
        };
        if key.length as usize > NAME {
            return Err(wrong(&format!("with a key of at most {NAME} bytes, found {}", key.length)));
        }
        let Some(count) = size(*count) else {
            return Err(wrong(&format!("with a number of elements, found {}", self.pickle.shown(*count))));
        };
        let view = match more {
            [] | [Value::None] => None,
            [Value::Tuple(view)] => match &self.pickle.items[view.range()] {
                [_, offset, count] => Some(size(*offset).zip(size(*count)).ok_or_else(|| wrong("found a view of no numbers"))?),
                _ => return Err(wrong("found a view of other than three parts")),
            },
            _ => return Err(wrong("found too many parts")),
        };
        self.pickle.storages.push(Storage { key, dtype, count, view });
        let row = (self.pickle.storages.len() - 1) as Row;
        self.push(Value::Storage(row))
    }

    fn memoize(&mut self, opcode: u8, at: usize) -> Result<(), String> {
        let value = self.top(at)?;
        let index = match opcode {
            b'q' => self.number(1)?,
            b'r' => self.number(4)?,
            _ => self.memoized,
        };
        // Picklers count up from 0.
        if index >= VALUES {
            return Err(broken(at, &format!("expected memo numbers below {VALUES}, found {index}")));
        }
        if self.memo.len() <= index {
            self.memo.resize(index + 1, None);
        }
        self.memoized += usize::from(self.memo[index].is_none());
        self.memo[index] = Some(value);
        Ok(())
    }
}

fn broken(at: usize, what: &str) -> String {
    format!("the pickle is damaged at byte {at}: {what}; get the file again")
}

fn opcode_name(opcode: u8) -> String {
    let name = match opcode {
        0x80 => "PROTO (in the middle)",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        b'I' => "INT",
        b'L' => "LONG",
        b'F' => "FLOAT",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'P' => "PERSID",
        b'i' => "INST",
        b'o' => "OBJ",
        b'l' => "LIST",
        b'd' => "DICT",
        b'p' => "PUT",
        b'g' => "GET",
        _ => return format!("{opcode:#04x}"),
    };
    format!("{name} ({opcode:#04x})")
}
