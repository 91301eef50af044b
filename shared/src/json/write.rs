//! From values to text.

use alloc::string::String;

use super::Field;

/// A type whose values are written as JSON.
pub trait Write {
    /// Writes this value.
    fn write(&self, writer: &mut Writer);

    /// Whether there is nothing to say, so that a field may be left out.
    fn is_blank(&self) -> bool {
        false
    }
}

/// The table of a type that is an object.
pub trait Parts {
    /// Its fields, in the order in which they are written.
    const FIELDS: &'static [Field];
}

/// The way to the fields of a type that is an object.
pub trait Part {
    /// The field at that place of the table.
    fn part(&self, at: usize) -> &dyn Write;
}

/// Writes a value without any space.
#[must_use]
pub fn write(value: &dyn Write) -> String {
    let mut writer = Writer { text: String::new(), name: false };
    value.write(&mut writer);
    writer.text
}

/// A text that is being written.
#[derive(Debug)]
pub struct Writer {
    text: String,
    /// Whether an object's name is being written: numbers stand in quotation marks there.
    name: bool,
}

impl Writer {
    /// A number.
    pub fn number(&mut self, n: u64) {
        if self.name {
            self.text.push('"');
        }
        self.text.push_str(itoa::Buffer::new().format(n));
        if self.name {
            self.text.push('"');
        }
    }

    /// A text.
    pub fn string(&mut self, value: &str) {
        self.text.push('"');
        let mut rest = value;
        while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.text.push_str(plain);
            let mut chars = special.chars();
            self.escape(chars.next().unwrap_or_default());
            rest = chars.as_str();
        }
        self.text.push_str(rest);
        self.text.push('"');
    }

    fn escape(&mut self, c: char) {
        self.text.push('\\');
        match c {
            '\u{8}' => self.text.push('b'),
            '\u{c}' => self.text.push('f'),
            '\n' => self.text.push('n'),
            '\r' => self.text.push('r'),
            '\t' => self.text.push('t'),
            '"' | '\\' => self.text.push(c),
            control => {
                self.text.push_str("u00");
                for shift in [4, 0] {
                    self.text.push(char::from_digit((u32::from(control) >> shift) & 0xf, 16).unwrap_or('0'));
                }
            }
        }
    }

    /// A comma, unless nothing was written since the beginning.
    fn next(&mut self) {
        if !self.text.ends_with(['[', '{']) {
            self.text.push(',');
        }
    }

    /// The name of a field, and what precedes and follows it.
    fn field(&mut self, name: &str) {
        self.next();
        self.string(name);
        self.text.push(':');
    }

    /// `true`, `false` or `null`.
    pub fn literal(&mut self, word: &str) {
        self.text.push_str(word);
    }

    /// Begins a list or a map.
    pub fn open(&mut self, mark: char) {
        self.text.push(mark);
    }

    /// Ends it.
    pub fn close(&mut self, mark: char) {
        self.text.push(mark);
    }

    /// A list's next element.
    pub fn element(&mut self, value: &dyn Write) {
        self.next();
        value.write(self);
    }

    /// A list of just these elements.
    pub fn tuple(&mut self, elements: &[&dyn Write]) {
        self.open('[');
        for element in elements {
            self.element(*element);
        }
        self.close(']');
    }

    /// A map of these entries.
    pub fn entries<'a, K: Write + 'a, V: Write + 'a>(
        &mut self,
        entries: impl IntoIterator<Item = (&'a K, &'a V)>,
    ) {
        self.open('{');
        for (key, value) in entries {
            self.entry(key, value);
        }
        self.close('}');
    }

    /// A map's next entry.
    fn entry(&mut self, key: &dyn Write, value: &dyn Write) {
        self.next();
        self.name = true;
        key.write(self);
        self.name = false;
        self.text.push(':');
        value.write(self);
    }

    /// An object of these fields, in an object of the one field `of` where that is named.
    pub fn fields(&mut self, of: &str, fields: &[(&str, &dyn Write)]) {
        if !of.is_empty() {
            self.open('{');
            self.field(of);
        }
        self.open('{');
        for (name, value) in fields {
            self.field(name);
            value.write(self);
        }
        self.close('}');
        if !of.is_empty() {
            self.close('}');
        }
    }

    /// An object of the fields of `from`.
    pub fn object(&mut self, fields: &[Field], from: &dyn Part) {
        self.open('{');
        self.parts(fields, from);
        self.close('}');
    }

    /// The same, after a field that says what it is.
    pub fn tagged(&mut self, tag: &str, word: &str, fields: &[Field], from: &dyn Part) {
        self.open('{');
        self.field(tag);
        self.string(word);
        self.parts(fields, from);
        self.close('}');
    }

    fn parts(&mut self, fields: &[Field], from: &dyn Part) {
        for (at, field) in fields.iter().enumerate() {
            let part = from.part(at);
            if !field.left_out || !part.is_blank() {
                self.field(field.name);
                part.write(self);
            }
        }
    }
}
