//! From values to text.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    Serializer,
};

use super::Error;

/// Writes a value without any space.
///
/// # Errors
/// When a value has no such text: a fraction, or an object whose names are neither texts nor numbers.
pub fn write<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    let mut writer = Writer { text: String::new(), name: false };
    value.serialize(&mut writer)?;
    Ok(writer.text)
}

#[derive(Debug)]
struct Writer {
    text: String,
    /// Whether an object's name is being written: numbers stand in quotation marks there.
    name: bool,
}

impl Writer {
    fn number(&mut self, n: u64) {
        if self.name {
            self.text.push('"');
        }
        self.text.push_str(itoa::Buffer::new().format(n));
        if self.name {
            self.text.push('"');
        }
    }

    fn string(&mut self, value: &str) {
        self.text.push('"');
        let mut rest = value;
        while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
            let (plain, special) = rest.split_at(at);
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

    /// Begins a list or an object; `name` is that of a variant around it.
    fn open(&mut self, name: &str, mark: char) -> Result<(), Error> {
        if self.name {
            return Err(Error::new("an object's name is a list or an object"));
        }
        if !name.is_empty() {
            self.text.push('{');
            self.string(name);
            self.text.push(':');
        }
        self.text.push(mark);
        Ok(())
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
}

macro_rules! naturals {
    ($($method:ident $type:ty)*) => {
        $(fn $method(self, n: $type) -> Result<(), Error> {
            self.number(u64::from(n));
            Ok(())
        })*
    };
}

macro_rules! refused {
    ($($method:ident $type:ty)*) => {
        $(fn $method(self, _: $type) -> Result<(), Error> {
            Err(Error::new("only natural numbers and texts are written"))
        })*
    };
}

impl<'w> Serializer for &'w mut Writer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Open<'w>;
    type SerializeTuple = Open<'w>;
    type SerializeTupleStruct = serde::ser::Impossible<(), Error>;
    type SerializeTupleVariant = serde::ser::Impossible<(), Error>;
    type SerializeMap = Open<'w>;
    type SerializeStruct = Open<'w>;
    type SerializeStructVariant = Open<'w>;

    naturals!(serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64);
    refused!(
        serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64 serialize_f32 f32 serialize_f64 f64
        serialize_char char serialize_bytes &[u8]
    );

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.text.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.string(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.text.push_str("null");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), Error> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.open("", '{')?;
        self.field(name);
        value.serialize(&mut *self)?;
        self.text.push('}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'w>, Error> {
        self.open("", '[')?;
        Ok(Open { writer: self, end: "]" })
    }

    fn serialize_tuple(self, _: usize) -> Result<Open<'w>, Error> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(Error::new("only natural numbers and texts are written"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(Error::new("only natural numbers and texts are written"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'w>, Error> {
        self.open("", '{')?;
        Ok(Open { writer: self, end: "}" })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Open<'w>, Error> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Open<'w>, Error> {
        self.open(name, '{')?;
        Ok(Open { writer: self, end: "}}" })
    }
}

/// A list or an object that was begun.
#[derive(Debug)]
struct Open<'w> {
    writer: &'w mut Writer,
    end: &'static str,
}

impl Open<'_> {
    fn close(self) -> Result<(), Error> {
        self.writer.text.push_str(self.end);
        Ok(())
    }

    fn put<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.writer.field(name);
        value.serialize(&mut *self.writer)
    }

    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.writer.next();
        value.serialize(&mut *self.writer)
    }
}

impl SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.add(value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

impl SerializeTuple for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.add(value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

impl SerializeMap for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.writer.next();
        self.writer.name = true;
        let written = key.serialize(&mut *self.writer);
        self.writer.name = false;
        written
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.writer.text.push(':');
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

impl SerializeStruct for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.put(name, value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

impl SerializeStructVariant for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.put(name, value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}
