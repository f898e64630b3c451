//! A request in a form that all its spellings share: object keys in order, no white space, strings unescaped. Numbers stay as
//! they were written.
//!
//! Must not know what a request means. Reads in time that grows with the text alone, however it is nested.

use std::borrow::Cow;

use super::request::Request;

/// Deepest nesting that is read: as deep as most JSON libraries read. The stack is bounded by it.
const DEPTH_MAX: usize = 128;

/// Why a text has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// It is no JSON.
    #[error("the text is no JSON")]
    NotJson,
    /// It is nested deeper than is read.
    #[error("the text is nested too deeply")]
    TooDeep,
    /// An object has a key twice: which of them counts is the reader's choice.
    #[error("an object has a key twice")]
    Twice,
}

/// A JSON text, its objects' keys in order.
#[derive(Debug)]
pub struct Canonical<'a> {
    text: &'a [u8],
    /// In the order of their beginnings.
    objects: Vec<Object<'a>>,
}

#[derive(Debug)]
struct Object<'a> {
    /// Behind it.
    end: Place,
    /// In the order of their keys.
    members: Vec<Member<'a>>,
}

#[derive(Debug)]
struct Member<'a> {
    key: Cow<'a, [u8]>,
    /// Where its value begins.
    value: Place,
}

/// A place in the text, and which object is the first from there on.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    object: usize,
}

impl Request {
    /// The request in the form that all its spellings share.
    ///
    /// # Errors
    /// When it has none.
    pub fn canonical(&self) -> Result<Canonical<'_>, NotCanonical> {
        Canonical::read(&self.body)
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.body.len()
    }
}

impl<'a> Canonical<'a> {
    /// Reads a text.
    ///
    /// # Errors
    /// When it has no such form.
    pub fn read(text: &'a [u8]) -> Result<Self, NotCanonical> {
        let mut reader = Reader { cursor: Cursor { text, at: 0 }, objects: Vec::new() };
        reader.value(0)?;
        match reader.cursor.token() {
            Err(_) => Ok(Self { text, objects: reader.objects }),
            Ok(_) => Err(NotCanonical::NotJson),
        }
    }

    /// The text of a number or word that stands at the top; `""` for another value.
    #[must_use]
    pub fn top_level(&self, key: &str) -> Option<&'a str> {
        let is_object = Cursor { text: self.text, at: 0 }.token() == Ok(b'{');
        let members = &self.objects.first().filter(|_| is_object)?.members;
        let place = members.binary_search_by(|member| (*member.key).cmp(key.as_bytes())).ok()?;
        let mut cursor = Cursor { text: self.text, at: members.get(place)?.value.at };
        Some(match cursor.token().ok()? {
            b'{' | b'[' | b'"' => "",
            _ => std::str::from_utf8(cursor.scalar().ok()?).ok()?,
        })
    }

    /// Gives the canonical form to `out`, piece by piece. Two texts give the same bytes where they say the same, and only there.
    pub fn write(&self, out: &mut impl FnMut(&[u8])) {
        // It was read to its end: nothing is wrong with it.
        let _ = self.write_value(Place { at: 0, object: 0 }, out);
    }

    /// Writes the value that begins there; where it ends.
    fn write_value(&self, from: Place, out: &mut impl FnMut(&[u8])) -> Result<Place, NotCanonical> {
        let mut cursor = Cursor { text: self.text, at: from.at };
        match cursor.token()? {
            b'{' => {
                let object = self.objects.get(from.object).ok_or(NotCanonical::NotJson)?;
                out(b"{");
                for member in &object.members {
                    out(b"\"");
                    out(&member.key);
                    out(END_OF_STRING);
                    self.write_value(member.value, out)?;
                }
                out(b"}");
                return Ok(object.end);
            }
            b'[' => return self.write_items(Place { at: cursor.at + 1, ..from }, out),
            b'"' => {
                out(b"\"");
                cursor.string(out)?;
                out(END_OF_STRING);
            }
            _ => {
                out(cursor.scalar()?);
                out(b",");
            }
        }
        Ok(Place { at: cursor.at, ..from })
    }

    fn write_items(&self, mut from: Place, out: &mut impl FnMut(&[u8])) -> Result<Place, NotCanonical> {
        out(b"[");
        loop {
            let mut cursor = Cursor { text: self.text, at: from.at };
            match cursor.token()? {
                b']' => {
                    out(b"]");
                    return Ok(Place { at: cursor.at + 1, ..from });
                }
                b',' => from.at = cursor.at + 1,
                _ => from = self.write_value(from, out)?,
            }
        }
    }
}

/// What no text has in it.
const END_OF_STRING: &[u8] = &[0xff];

/// Finds the objects of a text, and puts their members in order.
struct Reader<'a> {
    cursor: Cursor<'a>,
    objects: Vec<Object<'a>>,
}

impl Reader<'_> {
    fn place(&self) -> Place {
        Place { at: self.cursor.at, object: self.objects.len() }
    }

    fn value(&mut self, depth: usize) -> Result<(), NotCanonical> {
        match self.cursor.token()? {
            b'{' | b'[' if depth == DEPTH_MAX => Err(NotCanonical::TooDeep),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.cursor.string(&mut |_| {}),
            _ => self.cursor.scalar().map(drop),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), NotCanonical> {
        self.cursor.at += 1;
        if self.cursor.token()? == b']' {
            self.cursor.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.cursor.next_or_end(b']')? {
                return Ok(());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), NotCanonical> {
        let place = self.objects.len();
        // Objects within it come behind it.
        self.objects.push(Object { end: self.place(), members: Vec::new() });
        self.cursor.at += 1;
        let mut members = Vec::new();
        let mut is_over = self.cursor.token()? == b'}';
        if is_over {
            self.cursor.at += 1;
        }
        while !is_over {
            let key = match self.cursor.token()? {
                b'"' => self.cursor.whole_string()?,
                _ => return Err(NotCanonical::NotJson),
            };
            self.cursor.expect(b':')?;
            self.cursor.token()?;
            members.push(Member { key, value: self.place() });
            self.value(depth + 1)?;
            is_over = self.cursor.next_or_end(b'}')?;
        }
        members.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        if members.windows(2).any(|two| matches!(two, [one, other] if one.key == other.key)) {
            return Err(NotCanonical::Twice);
        }
        let end = self.place();
        if let Some(object) = self.objects.get_mut(place) {
            *object = Object { end, members };
        }
        Ok(())
    }
}

/// A place in a JSON text.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The first byte of the next token, which is not passed.
    fn token(&mut self) -> Result<u8, NotCanonical> {
        loop {
            match self.text.get(self.at) {
                Some(&byte) if is_space(byte) => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(NotCanonical::NotJson),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotCanonical> {
        if self.token()? != byte {
            return Err(NotCanonical::NotJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes a comma, or the end of a list or an object.
    fn next_or_end(&mut self, end: u8) -> Result<bool, NotCanonical> {
        let byte = self.token()?;
        if byte != end && byte != b',' {
            return Err(NotCanonical::NotJson);
        }
        self.at += 1;
        Ok(byte == end)
    }

    /// A number, or one of the three words.
    fn scalar(&mut self) -> Result<&'a [u8], NotCanonical> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_of_it = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let length = rest.iter().take_while(|byte| is_of_it(byte)).count();
        self.at += length;
        rest.get(..length).filter(|text| !text.is_empty()).ok_or(NotCanonical::NotJson)
    }

    /// A string, given to `out` unescaped, piece by piece. Surrogates that have no other half are in three bytes, as no UTF-8 is.
    fn string(&mut self, out: &mut impl FnMut(&[u8])) -> Result<(), NotCanonical> {
        self.at += 1;
        loop {
            let (plain, is_end) = self.plain()?;
            out(plain);
            if is_end {
                return Ok(());
            }
            with_bytes(self.escaped()?, out);
        }
    }

    /// As [`Cursor::string`], all of it.
    fn whole_string(&mut self) -> Result<Cow<'a, [u8]>, NotCanonical> {
        let start = self.at;
        self.at += 1;
        if let (plain, true) = self.plain()? {
            return Ok(Cow::Borrowed(plain));
        }
        self.at = start;
        let mut text = Vec::new();
        self.string(&mut |bytes| text.extend_from_slice(bytes))?;
        Ok(Cow::Owned(text))
    }

    /// What stands before the next quotation mark or backslash, which is passed; and whether it was the mark.
    fn plain(&mut self) -> Result<(&'a [u8], bool), NotCanonical> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = memchr::memchr2(b'"', b'\\', rest).ok_or(NotCanonical::NotJson)?;
        self.at += length + 1;
        Ok((rest.get(..length).unwrap_or_default(), rest.get(length) == Some(&b'"')))
    }

    /// What is escaped, the backslash passed.
    fn escaped(&mut self) -> Result<u32, NotCanonical> {
        let byte = self.text.get(self.at).copied().ok_or(NotCanonical::NotJson)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => u32::from(byte),
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => 0x0a,
            b'r' => 0x0d,
            b't' => 0x09,
            b'u' => {
                let unit = self.four_digits()?;
                let is_followed = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"));
                if !(0xd800..0xdc00).contains(&unit) || !is_followed {
                    return Ok(unit);
                }
                let before = self.at;
                self.at += 2;
                let low = self.four_digits()?;
                if (0xdc00..0xe000).contains(&low) {
                    0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    self.at = before;
                    unit
                }
            }
            _ => return Err(NotCanonical::NotJson),
        })
    }

    fn four_digits(&mut self) -> Result<u32, NotCanonical> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(NotCanonical::NotJson)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, &digit| {
            char::from(digit).to_digit(16).map(|digit| code * 16 + digit).ok_or(NotCanonical::NotJson)
        })
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[expect(clippy::cast_possible_truncation, reason = "a surrogate has sixteen bits")]
fn with_bytes(code: u32, out: &mut impl FnMut(&[u8])) {
    match char::from_u32(code) {
        Some(character) => out(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            out(&[0xe0 | (code >> 12) as u8, 0x80 | ((code >> 6) & 0x3f) as u8, 0x80 | (code & 0x3f) as u8]);
        }
    }
}

#[cfg(test)]
mod tests;
