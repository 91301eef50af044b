//! From text to values. What is generic here calls what is not, and does nothing else.

use std::borrow::Cow;

use serde::Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::Error;

/// Objects and lists in each other; deeper ones are refused before the stack ends.
const DEPTH_MAX: u8 = 64;

/// Reads a value; the text must hold nothing else.
///
/// # Errors
/// When the text is not JSON, or not JSON of that type.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

#[derive(Debug)]
struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: u8,
}

/// A number, as far as our types care: none of them has fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Natural(u64),
    Negative(i64),
    Other,
}

impl<'de> Reader<'de> {
    fn malformed<T>(&self) -> Result<T, Error> {
        let line = self.text.get(..self.at).unwrap_or_default().matches('\n').count();
        Err(Error(format!("line {}, byte {}: this is not JSON", line.saturating_add(1), self.at).into()))
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.step();
        }
        self.byte()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() == Some(byte) {
            self.step();
            Ok(())
        } else {
            self.malformed()
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Error> {
        match self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            true => {
                self.at = self.at.saturating_add(word.len());
                Ok(())
            }
            false => self.malformed(),
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.peek().is_none() { Ok(()) } else { self.malformed() }
    }

    fn open(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            // Whatever else it is must be JSON, or the error would be about the wrong thing.
            self.skip()?;
            return Err(Error::new("a value is of another type than accepted"));
        }
        self.step();
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX { self.malformed() } else { Ok(()) }
    }

    /// Whether a list or object goes on; steps over the comma, or over the end.
    fn goes_on(&mut self, first: &mut bool, end: u8) -> Result<bool, Error> {
        if self.peek() == Some(end) {
            self.step();
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// The next name of an object and the colon after it; `None` at the object's end.
    fn name(&mut self, first: &mut bool) -> Result<Option<Cow<'de, str>>, Error> {
        if !self.goes_on(first, b'}')? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return self.malformed();
        }
        let name = self.string()?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    fn text(&mut self) -> Result<Cow<'de, str>, Error> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        self.skip()?;
        Err(Error::new("a value is of another type than accepted"))
    }

    /// A string, whose quotation mark is next.
    fn string(&mut self) -> Result<Cow<'de, str>, Error> {
        self.step();
        let mut built: Option<String> = None;
        loop {
            let start = self.at;
            while self.byte().is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
                self.step();
            }
            let piece = self.text.get(start..self.at).unwrap_or_default();
            match self.byte() {
                Some(b'"') => {
                    self.step();
                    return Ok(match built {
                        None => Cow::Borrowed(piece),
                        Some(text) => Cow::Owned(text + piece),
                    });
                }
                Some(b'\\') => {
                    self.step();
                    let escaped = self.escaped()?;
                    let text = built.get_or_insert_default();
                    text.push_str(piece);
                    text.push(escaped);
                }
                Some(_) | None => return self.malformed(),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, Error> {
        let byte = self.byte();
        self.step();
        Ok(match byte {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) {
                    self.word("\\u")?;
                    let low = self.hex()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return self.malformed();
                    }
                    code = 0x1_0000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
                }
                return char::from_u32(code).map_or_else(|| self.malformed(), Ok);
            }
            Some(_) | None => return self.malformed(),
        })
    }

    fn hex(&mut self) -> Result<u32, Error> {
        let digits = self.text.get(self.at..self.at.saturating_add(4)).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return self.malformed();
        }
        self.at = self.at.saturating_add(4);
        u32::from_str_radix(digits, 16).or_else(|_| self.malformed())
    }

    fn digits(&mut self) -> Result<&'de str, Error> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.step();
        }
        match self.text.get(start..self.at).unwrap_or_default() {
            "" => self.malformed(),
            digits => Ok(digits),
        }
    }

    fn number(&mut self) -> Result<Number, Error> {
        let negative = self.peek() == Some(b'-');
        if negative {
            self.step();
        }
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return self.malformed();
        }
        let mut fraction = false;
        if self.byte() == Some(b'.') {
            self.step();
            self.digits()?;
            fraction = true;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.step();
            if let Some(b'+' | b'-') = self.byte() {
                self.step();
            }
            self.digits()?;
            fraction = true;
        }
        let magnitude = whole.parse::<u64>().ok().filter(|_| !fraction);
        Ok(match (magnitude, negative) {
            (Some(n), false) => Number::Natural(n),
            (Some(1..), true) => 0_i64
                .checked_sub_unsigned(magnitude.unwrap_or_default())
                .map_or(Number::Other, Number::Negative),
            (Some(0) | None, _) => Number::Other,
        })
    }

    fn natural(&mut self) -> Result<u64, Error> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => match self.number()? {
                Number::Natural(n) => Ok(n),
                Number::Negative(_) | Number::Other => Err(Error::new("a number is not a natural one")),
            },
            Some(_) | None => {
                self.skip()?;
                Err(Error::new("a value is of another type than accepted"))
            }
        }
    }

    fn boolean(&mut self) -> Result<bool, Error> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| true),
            Some(b'f') => self.word("false").map(|()| false),
            Some(_) | None => {
                self.skip()?;
                Err(Error::new("a value is of another type than accepted"))
            }
        }
    }

    /// Steps over `null`, if that is next.
    fn null(&mut self) -> Result<bool, Error> {
        let null = self.peek() == Some(b'n');
        if null {
            self.word("null")?;
        }
        Ok(null)
    }

    /// Steps over any value.
    fn skip(&mut self) -> Result<(), Error> {
        let mut first = true;
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => {
                self.open(b'{')?;
                while self.name(&mut first)?.is_some() {
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.open(b'[')?;
                while self.goes_on(&mut first, b']')? {
                    self.skip()?;
                }
                Ok(())
            }
            Some(b't' | b'f') => self.boolean().map(|_| ()),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            Some(_) | None => self.malformed(),
        }
    }
}

macro_rules! naturals {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_u64(self.natural()?)
        })*
    };
}

macro_rules! texts {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_str(&self.text()?)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    naturals!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    texts!(deserialize_str deserialize_string deserialize_identifier);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.null()? { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.open(b'{')?;
        visitor.visit_map(Parts { reader: self, first: true })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.open(b'{')?;
        visitor.visit_map(Parts { reader: self, first: true })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.open(b'[')?;
        visitor.visit_seq(Parts { reader: self, first: true })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.open(b'[')?;
        let mut parts = Parts { reader: self, first: true };
        let value = visitor.visit_seq(&mut parts)?;
        // A tuple's reader stops where it has all it wants.
        if parts.reader.goes_on(&mut parts.first, b']')? {
            return Err(Error::new("a list is longer than accepted"));
        }
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.peek() == Some(b'"') {
            return visitor.visit_enum(Variant { name: self.string()?, reader: None });
        }
        self.open(b'{')?;
        let Some(name) = self.name(&mut true)? else {
            return Err(Error::new("a value is of another type than accepted"));
        };
        visitor.visit_enum(Variant { name, reader: Some(self) })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'"') => visitor.visit_str(&self.string()?),
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b't' | b'f') => visitor.visit_bool(self.boolean()?),
            Some(b'-' | b'0'..=b'9') => match self.number()? {
                Number::Natural(n) => visitor.visit_u64(n),
                Number::Negative(n) => visitor.visit_i64(n),
                // Of another type than any of ours.
                Number::Other => visitor.visit_f64(f64::NAN),
            },
            Some(_) | None => {
                self.word("null")?;
                visitor.visit_unit()
            }
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple_struct
    }
}

/// What a list or an object holds.
#[derive(Debug)]
struct Parts<'r, 'de> {
    reader: &'r mut Reader<'de>,
    first: bool,
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.reader.goes_on(&mut self.first, b']')? {
            seed.deserialize(&mut *self.reader).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<'de> MapAccess<'de> for Parts<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        match self.reader.name(&mut self.first)? {
            Some(name) => seed.deserialize(Name(name)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(&mut *self.reader)
    }
}

/// A name in an object; where the key is a number, it stands in quotation marks.
#[derive(Debug)]
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(&self.0)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut reader = Reader { text: &self.0, at: 0, depth: 0 };
        let number = reader.natural()?;
        reader.end()?;
        visitor.visit_u64(number)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// `"variant"`, or `{"variant": …}` whose content the reader is at.
#[derive(Debug)]
struct Variant<'r, 'de> {
    name: Cow<'de, str>,
    reader: Option<&'r mut Reader<'de>>,
}

impl<'r, 'de> EnumAccess<'de> for Variant<'r, 'de> {
    type Error = Error;
    type Variant = Content<'r, 'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), Error> {
        Ok((seed.deserialize(Name(self.name))?, Content(self.reader)))
    }
}

/// What stands behind a variant's name.
#[derive(Debug)]
struct Content<'r, 'de>(Option<&'r mut Reader<'de>>);

impl<'r, 'de> Content<'r, 'de> {
    fn reader(self) -> Result<&'r mut Reader<'de>, Error> {
        self.0.ok_or_else(|| Error::new("a word lacks its content"))
    }
}

/// The end of an object that has one name only.
fn close(reader: &mut Reader<'_>) -> Result<(), Error> {
    if reader.goes_on(&mut false, b'}')? { reader.malformed() } else { Ok(()) }
}

impl<'de> VariantAccess<'de> for Content<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        let Some(reader) = self.0 else { return Ok(()) };
        if reader.null()? { close(reader) } else { Err(Error::new("a word has content that none has")) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let reader = self.reader()?;
        let value = seed.deserialize(&mut *reader)?;
        close(reader)?;
        Ok(value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        let reader = self.reader()?;
        let value = reader.deserialize_tuple(length, visitor)?;
        close(reader)?;
        Ok(value)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let reader = self.reader()?;
        let value = reader.deserialize_map(visitor)?;
        close(reader)?;
        Ok(value)
    }
}
