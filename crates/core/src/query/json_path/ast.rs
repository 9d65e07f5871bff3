//! The tree of an expression.

use regex::Regex;

/// How structural errors are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Missing members yield nothing, arrays are unwrapped, single values wrapped.
    Lax,
    /// Missing members are errors.
    Strict,
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) mode: Mode,
    pub(super) root: Expr,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

#[derive(Clone, Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Literal(Literal),
    /// `$`
    Root,
    /// `@`
    Current,
    /// `last`, inside a subscript.
    Last,
    Signed(Sign, Box<Self>),
    /// A chain of one precedence, from left to right. Chains are lists, not trees, so that their
    /// length costs no stack.
    Arithmetic(Box<Self>, Vec<(Arithmetic, Self)>),
    Path(Box<Self>, Vec<Step>),
    /// A predicate as a value: `true`, `false` or `null`.
    Predicate(Box<Predicate>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Depth(u32),
    /// The leaves.
    Last,
}

#[derive(Clone, Debug)]
pub(super) struct Subscript {
    pub(super) from: Expr,
    pub(super) to: Option<Expr>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// `.key`
    Key(String),
    /// `.*`
    AnyKey,
    /// `.**{from to to}`
    Descend(Level, Level),
    /// `[*]`
    AnyElement,
    /// `[1, 3 to last]`
    Elements(Vec<Subscript>),
    /// `? (predicate)`
    Filter(Predicate),
    /// `.size()` and the like.
    Method(Method),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Type,
    Size,
    Double,
    Ceiling,
    Floor,
    Abs,
    Datetime,
    KeyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug)]
pub(super) enum Predicate {
    /// All of them, from left to right.
    And(Vec<Self>),
    /// One of them, from left to right.
    Or(Vec<Self>),
    Not(Box<Self>),
    IsUnknown(Box<Self>),
    Compare(Compare, Expr, Expr),
    Exists(Expr),
    StartsWith(Expr, String),
    LikeRegex(Expr, Regex),
}
