//! Tokens of the path language.

use super::JsonPathError;
use super::ast::Number;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A word: a keyword, a method or an unquoted key.
    Word(String),
    /// A double-quoted string, unescaped.
    String(String),
    Number(NumberText),
    /// Punctuation, longest match first.
    Symbol(&'static str),
}

/// A number literal; compared by text because tokens are compared in the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NumberText(pub(super) String);

impl NumberText {
    pub(super) fn value(&self) -> Option<Number> {
        if let Ok(integer) = self.0.parse::<i128>() {
            return Some(Number::Integer(integer));
        }
        let float = self.0.parse::<f64>().ok()?;
        float.is_finite().then_some(Number::Float(float))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Position of its first character, from 1.
    pub(super) at: usize,
}

impl Token {
    /// As it is named in error texts.
    pub(super) fn text(&self) -> String {
        match &self.kind {
            Kind::Word(word) => word.clone(),
            Kind::String(text) => format!("\"{text}\""),
            Kind::Number(number) => number.0.clone(),
            Kind::Symbol(symbol) => (*symbol).to_owned(),
        }
    }
}

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "**", "==", "!=", "<>", "<=", ">=", "&&", "||", "$", "@", ".", "*", "[", "]", "(", ")", "{",
    "}", "?", ",", "<", ">", "!", "+", "-", "/", "%",
];

/// Splits the text into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, JsonPathError> {
    let mut lexer = Lexer {
        rest: text,
        at: 1,
        tokens: Vec::new(),
    };
    while lexer.next_token()? {}
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    rest: &'t str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Result<bool, JsonPathError> {
        self.skip_blanks()?;
        let at = self.at;
        let Some(first) = self.rest.chars().next() else {
            return Ok(false);
        };
        let kind = if first == '"' {
            Kind::String(self.string()?)
        } else if first.is_ascii_digit() || self.starts_fraction() {
            Kind::Number(self.number()?)
        } else if is_word(first) {
            Kind::Word(self.take_while(is_word))
        } else {
            Kind::Symbol(self.symbol(first)?)
        };
        self.tokens.push(Token { kind, at });
        Ok(true)
    }

    fn skip_blanks(&mut self) -> Result<(), JsonPathError> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}'));
            let Some(comment) = self.rest.strip_prefix("/*") else {
                return Ok(());
            };
            let end = comment
                .find("*/")
                .ok_or_else(|| JsonPathError("unterminated comment".to_owned()))?;
            // Both marks have two bytes.
            self.advance(end.saturating_add(4));
        }
    }

    fn symbol(&mut self, first: char) -> Result<&'static str, JsonPathError> {
        let found = SYMBOLS
            .iter()
            .find(|symbol| self.rest.starts_with(**symbol));
        let symbol = found.copied().ok_or_else(|| {
            JsonPathError(format!("unexpected `{first}` at character {}", self.at))
        })?;
        self.advance(symbol.len());
        if symbol == "$" && self.rest.starts_with(|c| is_word(c) || c == '"') {
            return Err(JsonPathError("variables are not supported".to_owned()));
        }
        Ok(symbol)
    }

    /// `.5` is a number wherever it stands.
    fn starts_fraction(&self) -> bool {
        let mut characters = self.rest.chars();
        characters.next() == Some('.') && characters.next().is_some_and(|c| c.is_ascii_digit())
    }

    fn number(&mut self) -> Result<NumberText, JsonPathError> {
        let at = self.at;
        let mut text = self.take_while(|c| c.is_ascii_digit());
        if self.rest.starts_with('.') {
            self.advance(1);
            text.push('.');
            text.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        if self.rest.starts_with(['e', 'E']) {
            self.advance(1);
            text.push('e');
            if let Some(sign) = self.rest.chars().next().filter(|c| matches!(c, '+' | '-')) {
                self.advance(1);
                text.push(sign);
            }
            text.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        let number = NumberText(text);
        if self.rest.starts_with(is_word) || number.value().is_none() {
            return Err(JsonPathError(format!("invalid number at character {at}")));
        }
        Ok(number)
    }

    /// A string with JSON's escapes; any other escaped character stands for itself.
    fn string(&mut self) -> Result<String, JsonPathError> {
        let unterminated = || JsonPathError("unterminated string".to_owned());
        self.advance(1);
        let mut text = String::new();
        loop {
            text.push_str(&self.take_while(|c| !matches!(c, '"' | '\\')));
            let mark = self.rest.chars().next().ok_or_else(unterminated)?;
            self.advance(1);
            if mark == '"' {
                return Ok(text);
            }
            let escaped = self.rest.chars().next().ok_or_else(unterminated)?;
            self.advance(escaped.len_utf8());
            text.push(match escaped {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                'u' => self.unicode_escape()?,
                other => other,
            });
        }
    }

    /// What follows `\u`; characters beyond U+FFFF are two such escapes.
    fn unicode_escape(&mut self) -> Result<char, JsonPathError> {
        let invalid = || JsonPathError("invalid Unicode escape".to_owned());
        let high = self.four_hex().ok_or_else(invalid)?;
        if let Some(character) = char::from_u32(high).filter(|c| *c != '\0') {
            return Ok(character);
        }
        if !self.rest.starts_with("\\u") {
            return Err(invalid());
        }
        self.advance(2);
        let low = self.four_hex().ok_or_else(invalid)?;
        if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
            return Err(invalid());
        }
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(invalid)
    }

    fn four_hex(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        let code = digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())
            .flatten()?;
        self.advance(4);
        Some(code)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let taken = self.rest.get(..end).unwrap_or_default().to_owned();
        self.advance(end);
        taken
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.at = self.at.saturating_add(passed.chars().count());
        self.rest = rest;
    }
}

/// Characters of unquoted keys and keywords: what is neither blank nor punctuation.
fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii()
}
