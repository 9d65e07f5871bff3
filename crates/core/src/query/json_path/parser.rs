//! The grammar, by recursive descent.
//!
//! `or := and (|| and)*`, `and := not (&& not)*`, `not := ! delimited | comparison`,
//! `comparison := sum [op sum]`, `sum`, `product`, `signed`, `path := primary step*`. A
//! parenthesis holds a value or a predicate; which one it may be is checked where it is used.
//!
//! An expression is as deep as its nesting, however long its chains of operators are: parsing,
//! evaluation and dropping recurse at most [`MAX_DEPTH`] levels, which fits a small thread's stack.

use super::JsonPathError;
use super::ast::{
    Arithmetic, Compare, Expr, Level, Literal, Method, Mode, Predicate, Sign, Step, Subscript, Tree,
};
use super::lexer::{Kind, Token, tokens};
use super::pattern;

/// Deepest nesting of parentheses, brackets, signs and steps of a path.
const MAX_DEPTH: usize = 32;

/// Most regular expressions in one expression: compiling each of them costs time and memory.
const MAX_REGEXES: usize = 8;

pub(super) fn parse(text: &str) -> Result<Tree, JsonPathError> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
        regexes: 0,
        in_filter: 0,
        in_subscript: 0,
    };
    let mode = if parser.eat_word("strict") {
        Mode::Strict
    } else {
        parser.eat_word("lax");
        Mode::Lax
    };
    let root = parser.or()?.into_value();
    match parser.peek() {
        None => Ok(Tree { mode, root }),
        Some(token) => Err(unexpected(token)),
    }
}

/// A value or a predicate, as parentheses may hold either. Boxed, because each level of the
/// descent has several of them on the stack.
enum Node {
    Value(Box<Expr>),
    Predicate {
        predicate: Box<Predicate>,
        /// In parentheses, or `exists(…)`: may be negated and tested for `unknown`.
        delimited: bool,
    },
}

impl Node {
    fn into_value(self) -> Expr {
        match self {
            Self::Value(value) => *value,
            Self::Predicate { predicate, .. } => Expr::Predicate(predicate),
        }
    }

    fn value(expr: Expr) -> Self {
        Self::Value(Box::new(expr))
    }

    fn loose(predicate: Predicate) -> Self {
        Self::Predicate {
            predicate: Box::new(predicate),
            delimited: false,
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    regexes: usize,
    in_filter: usize,
    in_subscript: usize,
}

impl Parser {
    fn or(&mut self) -> Result<Node, JsonPathError> {
        self.chain("||", Self::and, Predicate::Or)
    }

    fn and(&mut self) -> Result<Node, JsonPathError> {
        self.chain("&&", Self::not, Predicate::And)
    }

    /// What `operand` reads, or several of them as one predicate.
    fn chain(
        &mut self,
        operator: &str,
        operand: fn(&mut Self) -> Result<Node, JsonPathError>,
        join: fn(Vec<Predicate>) -> Predicate,
    ) -> Result<Node, JsonPathError> {
        let first = operand(self)?;
        if !self.eat(operator) {
            return Ok(first);
        }
        let mut all = vec![predicate(first)?, predicate(operand(self)?)?];
        while self.eat(operator) {
            all.push(predicate(operand(self)?)?);
        }
        Ok(Node::loose(join(all)))
    }

    fn not(&mut self) -> Result<Node, JsonPathError> {
        if !self.eat("!") {
            return self.comparison();
        }
        match self.comparison()? {
            Node::Predicate {
                predicate,
                delimited: true,
            } => Ok(Node::loose(Predicate::Not(predicate))),
            Node::Predicate { .. } | Node::Value(_) => Err(JsonPathError(
                "`!` needs a predicate in parentheses or `exists`".to_owned(),
            )),
        }
    }

    fn comparison(&mut self) -> Result<Node, JsonPathError> {
        let left = self.sum()?;
        if let Some(operator) = self.compare_operator() {
            let (a, b) = (value(left)?, self.sum().and_then(value)?);
            return Ok(Node::loose(Predicate::Compare(operator, a, b)));
        }
        if self.eat_word("starts") {
            self.expect_word("with")?;
            let prefix = self.string_literal()?;
            return Ok(Node::loose(Predicate::StartsWith(value(left)?, prefix)));
        }
        if self.eat_word("like_regex") {
            let pattern = self.string_literal()?;
            let flags = if self.eat_word("flag") {
                self.string_literal()?
            } else {
                String::new()
            };
            self.regexes += 1;
            if self.regexes > MAX_REGEXES {
                return Err(JsonPathError(format!(
                    "more than {MAX_REGEXES} regular expressions"
                )));
            }
            let regex = pattern::compile(&pattern, &flags)?;
            return Ok(Node::loose(Predicate::LikeRegex(value(left)?, regex)));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Node, JsonPathError> {
        let operators = [("+", Arithmetic::Add), ("-", Arithmetic::Subtract)];
        self.arithmetic(&operators, Self::product)
    }

    fn product(&mut self) -> Result<Node, JsonPathError> {
        let operators = [
            ("*", Arithmetic::Multiply),
            ("/", Arithmetic::Divide),
            ("%", Arithmetic::Remainder),
        ];
        self.arithmetic(&operators, Self::signed)
    }

    /// What `operand` reads, or a chain of them joined by these operators.
    fn arithmetic(
        &mut self,
        operators: &[(&str, Arithmetic)],
        operand: fn(&mut Self) -> Result<Node, JsonPathError>,
    ) -> Result<Node, JsonPathError> {
        let first = operand(self)?;
        let Some(operator) = self.eat_operator(operators) else {
            return Ok(first);
        };
        let first = value(first)?;
        let mut others = vec![(operator, operand(self).and_then(value)?)];
        while let Some(operator) = self.eat_operator(operators) {
            others.push((operator, operand(self).and_then(value)?));
        }
        Ok(Node::value(Expr::Arithmetic(Box::new(first), others)))
    }

    fn eat_operator(&mut self, operators: &[(&str, Arithmetic)]) -> Option<Arithmetic> {
        let found = operators.iter().find(|(symbol, _)| self.eat(symbol));
        found.map(|(_, operator)| *operator)
    }

    fn signed(&mut self) -> Result<Node, JsonPathError> {
        let sign = if self.eat("+") {
            Sign::Plus
        } else if self.eat("-") {
            Sign::Minus
        } else {
            return self.path();
        };
        let operand = self.nested(Self::signed).and_then(value)?;
        Ok(Node::value(Expr::Signed(sign, Box::new(operand))))
    }

    /// A primary and the steps behind it.
    fn path(&mut self) -> Result<Node, JsonPathError> {
        let node = self.nested(Self::primary)?;
        let (mut steps, depth) = (Vec::new(), self.depth);
        // Evaluation goes one level deeper with each step, also when it comes to a filter.
        while let Some(step) = self.step()? {
            steps.push(step);
            self.deeper()?;
        }
        self.depth = depth;
        if steps.is_empty() {
            return Ok(node);
        }
        Ok(Node::value(Expr::Path(Box::new(node.into_value()), steps)))
    }

    fn primary(&mut self) -> Result<Node, JsonPathError> {
        let token = self.take()?;
        let expr = match &token.kind {
            Kind::Symbol("$") => Expr::Root,
            Kind::Symbol("@") if self.in_filter > 0 => Expr::Current,
            Kind::Symbol("(") => return self.parenthesis(),
            Kind::String(text) => Expr::Literal(Literal::String(text.clone())),
            Kind::Number(number) => match number.value() {
                Some(number) => Expr::Literal(Literal::Number(number)),
                None => return Err(unexpected(&token)),
            },
            Kind::Word(word) => return self.word(word, &token),
            Kind::Symbol(_) => return Err(unexpected(&token)),
        };
        Ok(Node::value(expr))
    }

    fn word(&mut self, word: &str, token: &Token) -> Result<Node, JsonPathError> {
        Ok(Node::value(match word {
            "null" => Expr::Literal(Literal::Null),
            "true" => Expr::Literal(Literal::Bool(true)),
            "false" => Expr::Literal(Literal::Bool(false)),
            _ if word.eq_ignore_ascii_case("last") && self.in_subscript > 0 => Expr::Last,
            _ if word.eq_ignore_ascii_case("exists") => {
                self.expect("(")?;
                let inner = self.sum().and_then(value)?;
                self.expect(")")?;
                return Ok(Node::Predicate {
                    predicate: Box::new(Predicate::Exists(inner)),
                    delimited: true,
                });
            }
            _ => return Err(unexpected(token)),
        }))
    }

    fn parenthesis(&mut self) -> Result<Node, JsonPathError> {
        let inner = self.or()?;
        self.expect(")")?;
        let predicate = match inner {
            Node::Value(value) => return Ok(Node::Value(value)),
            Node::Predicate { predicate, .. } => predicate,
        };
        if self.eat_word("is") {
            self.expect_word("unknown")?;
            return Ok(Node::loose(Predicate::IsUnknown(predicate)));
        }
        Ok(Node::Predicate {
            predicate,
            delimited: true,
        })
    }

    fn step(&mut self) -> Result<Option<Step>, JsonPathError> {
        if self.eat(".") {
            return self.member().map(Some);
        }
        if self.eat("[") {
            return self.nested(Self::subscripts).map(Some);
        }
        if self.eat("?") {
            self.expect("(")?;
            self.in_filter += 1;
            let filter = self.nested(Self::or).and_then(predicate)?;
            self.in_filter -= 1;
            self.expect(")")?;
            return Ok(Some(Step::Filter(filter)));
        }
        Ok(None)
    }

    /// What follows a dot.
    fn member(&mut self) -> Result<Step, JsonPathError> {
        let token = self.take()?;
        match &token.kind {
            Kind::Symbol("*") => Ok(Step::AnyKey),
            Kind::Symbol("**") => self.levels(),
            Kind::String(key) => Ok(Step::Key(key.clone())),
            Kind::Word(word) if self.eat("(") => {
                let method = method(word).ok_or_else(|| unexpected(&token))?;
                self.expect(")")?;
                Ok(Step::Method(method))
            }
            Kind::Word(word) if !word.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(Step::Key(word.clone()))
            }
            Kind::Word(_) | Kind::Number(_) | Kind::Symbol(_) => Err(unexpected(&token)),
        }
    }

    fn levels(&mut self) -> Result<Step, JsonPathError> {
        if !self.eat("{") {
            return Ok(Step::Descend(Level::Depth(0), Level::Last));
        }
        let from = self.level()?;
        let to = if self.eat_word("to") {
            self.level()?
        } else {
            from
        };
        self.expect("}")?;
        Ok(Step::Descend(from, to))
    }

    fn level(&mut self) -> Result<Level, JsonPathError> {
        let token = self.take()?;
        match &token.kind {
            Kind::Word(word) if word.eq_ignore_ascii_case("last") => Ok(Level::Last),
            Kind::Number(number) => number
                .0
                .parse()
                .map(Level::Depth)
                .map_err(|_| unexpected(&token)),
            Kind::Word(_) | Kind::String(_) | Kind::Symbol(_) => Err(unexpected(&token)),
        }
    }

    fn subscripts(&mut self) -> Result<Step, JsonPathError> {
        if self.eat("*") {
            self.expect("]")?;
            return Ok(Step::AnyElement);
        }
        self.in_subscript += 1;
        let mut all = Vec::new();
        loop {
            let from = self.sum().and_then(value)?;
            let to = if self.eat_word("to") {
                Some(self.sum().and_then(value)?)
            } else {
                None
            };
            all.push(Subscript { from, to });
            if !self.eat(",") {
                break;
            }
        }
        self.in_subscript -= 1;
        self.expect("]")?;
        Ok(Step::Elements(all))
    }

    /// Goes one level deeper, within limits: the parser and the evaluation recurse.
    fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, JsonPathError>,
    ) -> Result<T, JsonPathError> {
        self.deeper()?;
        let parsed = parse(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    fn deeper(&mut self) -> Result<(), JsonPathError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(JsonPathError(format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    fn compare_operator(&mut self) -> Option<Compare> {
        let operator = match self.peek().map(|token| &token.kind) {
            Some(Kind::Symbol("==")) => Compare::Equal,
            Some(Kind::Symbol("!=" | "<>")) => Compare::NotEqual,
            Some(Kind::Symbol("<")) => Compare::Less,
            Some(Kind::Symbol("<=")) => Compare::LessOrEqual,
            Some(Kind::Symbol(">")) => Compare::Greater,
            Some(Kind::Symbol(">=")) => Compare::GreaterOrEqual,
            _ => return None,
        };
        self.next += 1;
        Some(operator)
    }

    fn string_literal(&mut self) -> Result<String, JsonPathError> {
        let token = self.take()?;
        match token.kind {
            Kind::String(text) => Ok(text),
            Kind::Word(_) | Kind::Number(_) | Kind::Symbol(_) => Err(unexpected(&token)),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Result<Token, JsonPathError> {
        let token = self.peek().cloned();
        self.next += 1;
        token.ok_or_else(|| JsonPathError("unexpected end".to_owned()))
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token { kind: Kind::Symbol(s), .. }) if *s == symbol);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), JsonPathError> {
        if self.eat(symbol) {
            return Ok(());
        }
        Err(unexpected(&self.take()?))
    }

    /// Keywords are read in any letter case.
    fn eat_word(&mut self, keyword: &str) -> bool {
        let found = matches!(
            self.peek(),
            Some(Token { kind: Kind::Word(word), .. }) if word.eq_ignore_ascii_case(keyword)
        );
        self.next += usize::from(found);
        found
    }

    fn expect_word(&mut self, keyword: &str) -> Result<(), JsonPathError> {
        if self.eat_word(keyword) {
            return Ok(());
        }
        Err(unexpected(&self.take()?))
    }
}

fn predicate(node: Node) -> Result<Predicate, JsonPathError> {
    match node {
        Node::Predicate { predicate, .. } => Ok(*predicate),
        Node::Value(_) => Err(JsonPathError(
            "a value stands where a predicate must".to_owned(),
        )),
    }
}

fn value(node: Node) -> Result<Expr, JsonPathError> {
    match node {
        Node::Value(value) => Ok(*value),
        Node::Predicate { .. } => Err(JsonPathError(
            "a predicate stands where a value must".to_owned(),
        )),
    }
}

fn unexpected(token: &Token) -> JsonPathError {
    JsonPathError(format!(
        "unexpected `{}` at character {}",
        token.text(),
        token.at
    ))
}

fn method(name: &str) -> Option<Method> {
    Some(match name {
        "type" => Method::Type,
        "size" => Method::Size,
        "double" => Method::Double,
        "ceiling" => Method::Ceiling,
        "floor" => Method::Floor,
        "abs" => Method::Abs,
        "datetime" => Method::Datetime,
        "keyvalue" => Method::KeyValue,
        _ => return None,
    })
}
