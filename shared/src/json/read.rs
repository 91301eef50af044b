//! From text to values. What looks at text is here once, for all types.

use alloc::borrow::Cow;
use alloc::string::String;

use super::{Error, Field};

/// Objects and lists in each other; deeper ones are refused before the stack ends.
const DEPTH_MAX: u8 = 64;

/// A type whose values are read from JSON.
pub trait Read {
    /// A place to read into. It is no value yet: whoever fails to read must drop it.
    fn blank() -> Self
    where
        Self: Sized;

    /// Reads over what is there.
    ///
    /// # Errors
    /// When what is next is not JSON, or not JSON of this type.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error>;
}

/// The table of a type that is an object.
pub trait Places {
    /// Its fields, in the order of their places.
    const FIELDS: &'static [Field];
}

/// The way to the fields of a type that is an object.
pub trait Place {
    /// The field at that place of the table.
    fn place(&mut self, at: usize) -> &mut dyn Read;
}

/// A list that is being read.
pub trait Grow {
    /// A further element.
    fn grow(&mut self) -> &mut dyn Read;
}

/// Fields that stand by themselves.
#[expect(missing_debug_implementations, reason = "what can be read need not be shown")]
pub struct List<'a>(pub &'a mut [&'a mut dyn Read]);

impl Place for List<'_> {
    #[expect(clippy::indexing_slicing, reason = "the table has as many fields as there are places")]
    fn place(&mut self, at: usize) -> &mut dyn Read {
        self.0[at]
    }
}

/// Reads a value; the text must hold nothing else.
///
/// # Errors
/// When the text is not JSON, or not JSON of that type.
pub fn read<T: Read>(text: &str) -> Result<T, Error> {
    let mut value = T::blank();
    read_into(text, &mut value)?;
    Ok(value)
}

/// Reads over a value; the text must hold nothing else.
///
/// # Errors
/// When the text is not JSON, or not JSON of that type.
pub fn read_into(text: &str, value: &mut dyn Read) -> Result<(), Error> {
    let mut reader = Reader::new(text);
    value.read(&mut reader)?;
    reader.end()
}

/// Where in a text a value is read.
#[derive(Debug)]
pub struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: u8,
    /// Whether an object's name is being read: numbers stand in quotation marks there.
    name: bool,
}

/// What stands before the content of an enum.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    place: usize,
    has_content: bool,
}

impl Variant {
    /// Which of the words it is that were accepted.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }
}

/// Which of these words it is.
fn place_of(word: &str, words: &[&str]) -> Result<usize, Error> {
    words.iter().position(|other| *other == word).ok_or_else(|| Error::no_word(word))
}

impl<'de> Reader<'de> {
    fn new(text: &'de str) -> Self {
        Self { text, at: 0, depth: 0, name: false }
    }

    fn malformed<T>(&self) -> Result<T, Error> {
        let line = self.text.get(..self.at).unwrap_or_default().matches('\n').count();
        Err(Error::of(format_args!("line {}, byte {}: this is not JSON", line.saturating_add(1), self.at)))
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
            return self.of_another_type();
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
        if !core::mem::take(first) {
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

    /// A text.
    ///
    /// # Errors
    /// When something else is next.
    pub fn text(&mut self) -> Result<Cow<'de, str>, Error> {
        if self.peek() == Some(b'"') { self.string() } else { self.of_another_type() }
    }

    /// Whatever it is must be JSON, or the error would be about the wrong thing.
    fn of_another_type<T>(&mut self) -> Result<T, Error> {
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

    /// Steps over a number; `None` where it is not a natural one.
    fn number(&mut self) -> Result<Option<u64>, Error> {
        let negative = self.peek() == Some(b'-');
        if negative {
            self.step();
        }
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return self.malformed();
        }
        let mut natural = !negative;
        if self.byte() == Some(b'.') {
            self.step();
            self.digits()?;
            natural = false;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.step();
            if let Some(b'+' | b'-') = self.byte() {
                self.step();
            }
            self.digits()?;
            natural = false;
        }
        Ok(if natural { whole.parse().ok() } else { None })
    }

    /// A natural number up to `max`.
    ///
    /// # Errors
    /// When something else is next.
    pub fn natural(&mut self, max: u64) -> Result<u64, Error> {
        if core::mem::take(&mut self.name) {
            let text = self.text()?;
            let mut name = Reader::new(&text);
            let number = name.natural(max)?;
            return name.end().map(|()| number);
        }
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?.ok_or_else(|| Error::new("a number is not a natural one"))?;
                if number > max {
                    return Err(Error::new("a number is larger than accepted"));
                }
                Ok(number)
            }
            Some(_) | None => self.of_another_type(),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When something else is next.
    pub fn boolean(&mut self) -> Result<bool, Error> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| true),
            Some(b'f') => self.word("false").map(|()| false),
            Some(_) | None => self.of_another_type(),
        }
    }

    /// Steps over `null`, if that is next, and says whether it was.
    ///
    /// # Errors
    /// When it only begins like it.
    pub fn null(&mut self) -> Result<bool, Error> {
        let null = self.peek() == Some(b'n');
        if null {
            self.word("null")?;
        }
        Ok(null)
    }

    /// Any value, as it is written.
    ///
    /// # Errors
    /// When what is next is not JSON.
    pub fn written(&mut self) -> Result<&'de str, Error> {
        self.peek();
        let start = self.at;
        self.skip()?;
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Steps over any value.
    ///
    /// # Errors
    /// When what is next is not JSON.
    pub fn skip(&mut self) -> Result<(), Error> {
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

    /// The fields of an object, in any order; unknown ones are refused where it is strict.
    ///
    /// # Errors
    /// When it is no object, or a field is missing, there twice, or not what it should be.
    pub fn object(&mut self, fields: &[Field], strict: bool, of: &mut dyn Place) -> Result<(), Error> {
        self.open(b'{')?;
        let (mut seen, mut first, mut at) = (0_u64, true, 0);
        while let Some(name) = self.name(&mut first)? {
            // Fields mostly come in their order, so that the next one is the first to be looked at.
            let (before, after) = fields.split_at_checked(at).unwrap_or((fields, &[]));
            let is_it = |field: &Field| field.name == name;
            let found = after.iter().position(is_it).map(|place| place.wrapping_add(at));
            let Some(place) = found.or_else(|| before.iter().position(is_it)) else {
                if strict {
                    return Err(Error::named(&name, " is no accepted field"));
                }
                self.skip()?;
                continue;
            };
            let bit = bit(place);
            if seen & bit != 0 {
                return Err(Error::named(&name, " is there twice"));
            }
            of.place(place).read(self)?;
            seen |= bit;
            at = place.wrapping_add(1);
        }
        let missing =
            fields.iter().enumerate().find(|(place, field)| !field.optional && seen & bit(*place) == 0);
        missing.map_or(Ok(()), |(_, field)| Err(Error::named(field.name, " is missing")))
    }

    /// Reads a list of any length.
    ///
    /// # Errors
    /// When it is no list, or one of its elements is not what it should be.
    pub fn list(&mut self, list: &mut dyn Grow) -> Result<(), Error> {
        self.open(b'[')?;
        let mut first = true;
        while self.goes_on(&mut first, b']')? {
            list.grow().read(self)?;
        }
        Ok(())
    }

    /// A text that is `accepted`.
    ///
    /// # Errors
    /// What `refused` says of any other, or that it is no text.
    pub fn checked(
        &mut self,
        accepted: fn(&str) -> bool,
        refused: &dyn Fn(&str) -> Error,
    ) -> Result<String, Error> {
        let text = self.text()?;
        if accepted(&text) { Ok(text.into_owned()) } else { Err(refused(&text)) }
    }

    /// Reads a list of just these elements.
    ///
    /// # Errors
    /// When it is not such a list.
    pub fn tuple(&mut self, elements: &mut [&mut dyn Read]) -> Result<(), Error> {
        self.open(b'[')?;
        let mut first = true;
        for element in elements {
            if !self.goes_on(&mut first, b']')? {
                return Err(Error::new("a list is of another length than accepted"));
            }
            element.read(self)?;
        }
        if self.goes_on(&mut first, b']')? {
            Err(Error::new("a list is longer than accepted"))
        } else {
            Ok(())
        }
    }

    /// Reads the key of a map's next entry; `false` at its end.
    ///
    /// # Errors
    /// When it is no such key.
    fn key(&mut self, first: &mut bool, key: &mut dyn Read) -> Result<bool, Error> {
        if !self.goes_on(first, b'}')? {
            return Ok(false);
        }
        if self.peek() != Some(b'"') {
            return self.malformed();
        }
        self.name = true;
        let read = key.read(self);
        self.name = false;
        read?;
        self.expect(b':')?;
        Ok(true)
    }

    /// Hands over the entries of a map, in the order of the text.
    ///
    /// # Errors
    /// When something else is next, or a key or a value is not what it should be.
    pub fn entries<K: Read, V: Read>(&mut self, mut take: impl FnMut(K, V)) -> Result<(), Error> {
        self.open(b'{')?;
        let (mut first, mut key) = (true, K::blank());
        while self.key(&mut first, &mut key)? {
            let mut value = V::blank();
            value.read(self)?;
            take(core::mem::replace(&mut key, K::blank()), value);
        }
        Ok(())
    }

    /// Which of these words is next.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn word_of(&mut self, words: &[&str]) -> Result<usize, Error> {
        let variant = self.variant(words)?;
        self.unit(&variant)?;
        self.end_of_variant(&variant)?;
        Ok(variant.place)
    }

    /// `"variant"`, or `{"variant": …}`, whose content is next; the variant is one of these words.
    ///
    /// # Errors
    /// When it is neither.
    pub fn variant(&mut self, words: &[&str]) -> Result<Variant, Error> {
        let has_content = self.peek() != Some(b'"');
        let word = if has_content {
            self.open(b'{')?;
            self.name(&mut true)?
        } else {
            Some(self.string()?)
        };
        let word = word.ok_or_else(|| Error::new("a value is of another type than accepted"))?;
        Ok(Variant { place: place_of(&word, words)?, has_content })
    }

    /// What stands behind a variant that has no content.
    ///
    /// # Errors
    /// When there is content.
    pub fn unit(&mut self, variant: &Variant) -> Result<(), Error> {
        if variant.has_content && !self.null()? {
            return Err(Error::new("a word has content that none has"));
        }
        Ok(())
    }

    /// What stands behind a variant that has content.
    ///
    /// # Errors
    /// When there is none.
    pub fn content(&mut self, variant: &Variant) -> Result<(), Error> {
        if variant.has_content { Ok(()) } else { Err(Error::new("a word lacks its content")) }
    }

    /// What stands behind a variant's content: an object has one name only.
    ///
    /// # Errors
    /// When it has more.
    pub fn end_of_variant(&mut self, variant: &Variant) -> Result<(), Error> {
        if variant.has_content && self.goes_on(&mut false, b'}')? { self.malformed() } else { Ok(()) }
    }

    /// Which of these words that field of the object is that is next, which stays next.
    ///
    /// # Errors
    /// When it is no object, or the field is missing, there twice, or none of them.
    pub fn tag(&mut self, field: &str, words: &[&str]) -> Result<usize, Error> {
        let (at, depth) = (self.at, self.depth);
        self.open(b'{')?;
        let (mut first, mut tag) = (true, None);
        while let Some(name) = self.name(&mut first)? {
            if name != field {
                self.skip()?;
            } else if tag.is_none() {
                tag = Some(self.text()?);
            } else {
                return Err(Error::named(field, " is there twice"));
            }
        }
        (self.at, self.depth) = (at, depth);
        let tag = tag.ok_or_else(|| Error::named(field, " is missing"))?;
        place_of(&tag, words)
    }
}

/// Which fields were seen is noted in one word; none of our types has more.
fn bit(place: usize) -> u64 {
    1_u64.wrapping_shl(u32::try_from(place).unwrap_or(0))
}
