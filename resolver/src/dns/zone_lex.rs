//! Words and lines of a zone file (RFC 1035 §5.1): comments, quotes, parentheses. What the words mean is not known here.

use crate::dns::domain::unescape;

/// One entry: a line, or several held together by parentheses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Where it starts, counted from 1.
    pub line: usize,
    /// Whether it starts with a blank: then it has the owner of the entry before.
    pub is_indented: bool,
    /// At least one.
    pub words: Vec<Word>,
}

/// One word, its escapes as they were written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Word {
    /// The text without its quotes.
    pub raw: Vec<u8>,
    /// Whether it stood in quotes: then it is a string and nothing else.
    pub is_quoted: bool,
}

/// Why there are no words. The line is counted from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LexError {
    pub line: usize,
    pub reason: &'static str,
}

impl Word {
    /// The word as text, to compare and to show.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// The bytes that are meant: `\DDD` and `\X` replaced. `None` where a backslash is not followed by what it must be.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        unescape_all(&self.raw)
    }
}

pub(crate) fn unescape_all(raw: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'\\' {
            let (meant, after) = unescape(rest)?;
            bytes.push(meant);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

/// The entries of a file, empty ones left out.
pub(crate) fn entries(text: &str) -> Result<Vec<Entry>, LexError> {
    let mut entries = Vec::new();
    let mut lexer = Lexer {
        rest: text.as_bytes(),
        line: 1,
    };
    while let Some(entry) = lexer.entry()? {
        if !entry.words.is_empty() {
            entries.push(entry);
        }
    }
    Ok(entries)
}

struct Lexer<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Lexer<'_> {
    /// The next entry, which may have no words; `None` at the end.
    fn entry(&mut self) -> Result<Option<Entry>, LexError> {
        let Some(&first) = self.rest.first() else { return Ok(None) };
        let mut entry = Entry {
            line: self.line,
            is_indented: is_blank(first),
            words: Vec::new(),
        };
        let mut opened_at = None;
        while let Some(&byte) = self.rest.first() {
            match byte {
                b'\n' => {
                    self.next();
                    if opened_at.is_none() {
                        return Ok(Some(entry));
                    }
                }
                b';' => {
                    while self.rest.first().is_some_and(|&byte| byte != b'\n') {
                        self.next();
                    }
                }
                b'(' if opened_at.is_some() => return Err(self.error("a parenthesis within a parenthesis")),
                b'(' => {
                    opened_at = Some(self.line);
                    self.next();
                }
                b')' if opened_at.take().is_none() => return Err(self.error("a `)` without a `(`")),
                b')' => self.next(),
                _ if is_blank(byte) => self.next(),
                _ => entry.words.push(self.word()?),
            }
        }
        match opened_at {
            Some(line) => Err(LexError {
                line,
                reason: "a `(` without a `)`",
            }),
            None => Ok(Some(entry)),
        }
    }

    fn word(&mut self) -> Result<Word, LexError> {
        let mut word = Word::default();
        let mut is_open = false;
        while let Some(&byte) = self.rest.first() {
            match byte {
                b'\\' => {
                    word.raw.push(byte);
                    self.next();
                    match self.rest.first() {
                        Some(&escaped) if escaped != b'\n' => word.raw.push(escaped),
                        _ => return Err(self.error("a `\\` at the end of a line")),
                    }
                }
                b'"' if is_open => {
                    self.next();
                    if word.is_quoted {
                        return Ok(word);
                    }
                    is_open = false;
                    continue;
                }
                b'"' => {
                    is_open = true;
                    // A word may have quotes inside, as in alpn="h2,h3".
                    word.is_quoted = word.raw.is_empty();
                }
                b'\n' if is_open => return Err(self.error("a quote that is not closed on its line")),
                _ if is_open => word.raw.push(byte),
                b'\n' | b';' | b'(' | b')' => return Ok(word),
                _ if is_blank(byte) => return Ok(word),
                _ => word.raw.push(byte),
            }
            self.next();
        }
        if is_open {
            Err(self.error("a quote that is not closed"))
        } else {
            Ok(word)
        }
    }

    fn next(&mut self) {
        if let Some((&byte, rest)) = self.rest.split_first() {
            self.line += usize::from(byte == b'\n');
            self.rest = rest;
        }
    }

    fn error(&self, reason: &'static str) -> LexError {
        LexError { line: self.line, reason }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let entries = entries(text).expect(text);
        entries.iter().map(|entry| entry.words.iter().map(Word::text).collect()).collect()
    }

    #[test]
    fn lines_become_words() {
        let file = "a  1 ; c\n\n ; only a comment\n\tb (\n x ; y (\n z)\"q w\" k=\"v w\"\\;\r\nlast";
        assert_eq!(words(file), [vec!["a", "1"], vec!["b", "x", "z", "q w", "k=v w\\;"], vec!["last"]]);
        let entries = entries(file).expect("entries");
        assert_eq!(
            entries.iter().map(|entry| (entry.line, entry.is_indented)).collect::<Vec<_>>(),
            [(1, false), (4, true), (7, false)]
        );
    }

    #[test]
    fn what_is_left_open_is_an_error_with_its_line() {
        for (text, line) in [
            ("a (\nb", 1),
            ("a\nb )", 2),
            ("a \"b\nc\"", 1),
            ("\n\na \"b", 3),
            ("a\\\nb", 1),
            ("a ( ( ) )", 1),
        ] {
            assert_eq!(entries(text).expect_err(text).line, line, "{text:?}");
        }
    }
}
