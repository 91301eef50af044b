//! How the types of the standard library are read and written.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::{Error, Grow, Read, Reader, Write, Writer};

macro_rules! naturals {
    ($($type:ty)*) => {
        $(
            impl Read for $type {
                fn blank() -> Self {
                    0
                }

                fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
                    *self = reader.natural(u64::from(<$type>::MAX))?.try_into().unwrap_or(<$type>::MAX);
                    Ok(())
                }
            }

            impl Write for $type {
                fn write(&self, writer: &mut Writer) {
                    writer.number(u64::from(*self));
                }

                fn is_blank(&self) -> bool {
                    *self == 0
                }
            }
        )*
    };
}
naturals!(u8 u16 u32);

impl Read for u64 {
    fn blank() -> Self {
        0
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        *self = reader.natural(Self::MAX)?;
        Ok(())
    }
}

impl Write for u64 {
    fn write(&self, writer: &mut Writer) {
        writer.number(*self);
    }

    fn is_blank(&self) -> bool {
        *self == 0
    }
}

impl Read for bool {
    fn blank() -> Self {
        false
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        *self = reader.boolean()?;
        Ok(())
    }
}

impl Write for bool {
    fn write(&self, writer: &mut Writer) {
        writer.literal(if *self { "true" } else { "false" });
    }
}

impl Read for String {
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        *self = reader.text()?.into_owned();
        Ok(())
    }
}

impl Write for String {
    fn write(&self, writer: &mut Writer) {
        writer.string(self);
    }
}

impl Write for str {
    fn write(&self, writer: &mut Writer) {
        writer.string(self);
    }
}

impl<T: Write + ?Sized> Write for &T {
    fn write(&self, writer: &mut Writer) {
        T::write(self, writer);
    }

    fn is_blank(&self) -> bool {
        T::is_blank(self)
    }
}

impl<T: Read> Read for Box<T> {
    fn blank() -> Self {
        Self::new(T::blank())
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        T::read(self, reader)
    }
}

impl<T: Write> Write for Box<T> {
    fn write(&self, writer: &mut Writer) {
        T::write(self, writer);
    }
}

impl<T: Read> Read for Option<T> {
    fn blank() -> Self {
        None
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        *self = None;
        if reader.null()? { Ok(()) } else { self.insert(T::blank()).read(reader) }
    }
}

impl<T: Write> Write for Option<T> {
    fn write(&self, writer: &mut Writer) {
        match self {
            Some(value) => value.write(writer),
            None => writer.literal("null"),
        }
    }

    fn is_blank(&self) -> bool {
        self.is_none()
    }
}

impl<T: Read> Read for Vec<T> {
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.clear();
        reader.list(self)
    }
}

impl<T: Read> Grow for Vec<T> {
    #[expect(clippy::indexing_slicing, reason = "the element has just been added")]
    fn grow(&mut self) -> &mut dyn Read {
        let place = self.len();
        self.push(T::blank());
        &mut self[place]
    }
}

impl<T: Write> Write for Vec<T> {
    fn write(&self, writer: &mut Writer) {
        writer.open('[');
        for element in self {
            writer.element(element);
        }
        writer.close(']');
    }

    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl<K: Read + Ord, V: Read> Read for BTreeMap<K, V> {
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        self.clear();
        reader.entries(|key, value| drop(self.insert(key, value)))
    }
}

impl<K: Write, V: Write> Write for BTreeMap<K, V> {
    fn write(&self, writer: &mut Writer) {
        writer.entries(self);
    }

    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl<A: Read, B: Read> Read for (A, B) {
    fn blank() -> Self {
        (A::blank(), B::blank())
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        reader.tuple(&mut [&mut self.0, &mut self.1])
    }
}

impl<A: Write, B: Write> Write for (A, B) {
    fn write(&self, writer: &mut Writer) {
        writer.tuple(&[&self.0, &self.1]);
    }
}

impl<A: Read, B: Read, C: Read> Read for (A, B, C) {
    fn blank() -> Self {
        (A::blank(), B::blank(), C::blank())
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        reader.tuple(&mut [&mut self.0, &mut self.1, &mut self.2])
    }
}

impl<A: Write, B: Write, C: Write> Write for (A, B, C) {
    fn write(&self, writer: &mut Writer) {
        writer.tuple(&[&self.0, &self.1, &self.2]);
    }
}

impl<T: Read + Ord> Read for BTreeSet<T> {
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let mut values = Vec::<T>::blank();
        values.read(reader)?;
        *self = values.into_iter().collect();
        Ok(())
    }
}

impl<T: Write> Write for BTreeSet<T> {
    fn write(&self, writer: &mut Writer) {
        writer.open('[');
        for element in self {
            writer.element(element);
        }
        writer.close(']');
    }

    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}
