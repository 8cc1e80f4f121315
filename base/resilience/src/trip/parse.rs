//! From tokens to a tree, by the grammar of CEL.

use super::lex::{Placed, Token, tokens};
use super::{Count, Fault, Position};

/// A part of an expression, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) kind: Kind,
    /// Levels of parts within, so that no walk over the tree exhausts the stack.
    depth: u16,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Literal(Literal),
    Count(Count),
    /// A name that is no count.
    Unknown,
    /// A part of a value of any type.
    Select(Box<Node>),
    List(Vec<Node>),
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negative(Box<Node>),
    Both(Box<Node>, Box<Node>),
    Either(Box<Node>, Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Conditional(Box<[Node; 3]>),
    Call(Function, Box<Node>),
}

/// A value as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
}

/// Operators of two operands that both are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Functions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Int,
    Uint,
    Double,
    Text,
    Bool,
    Dyn,
    Size,
}

/// Levels of a tree, and of brackets.
const MAX_DEPTH: u16 = 100;

/// Words that cannot be names.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Operators by how tightly they bind, the loosest first.
const LEVELS: [&[(&str, Operator)]; 3] = [
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Remainder),
    ],
];

/// The tree of a whole text.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
    };
    let root = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(root),
        _ => Err(parser.unexpected("end of the expression")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    /// Brackets and prefixes around what is being read.
    depth: u16,
}

// === impl Parser ===

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn position(&self) -> Position {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens
            .get(self.next.min(last))
            .map_or(0, |(position, _)| *position)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    /// Takes this sign if it is next.
    fn takes(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Sign(next) if *next == sign);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(self.unexpected(&format!("'{sign}'")))
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.peek() {
            Token::End => "<EOF>".to_owned(),
            Token::Sign(sign) => format!("'{sign}'"),
            Token::Name(name) => format!("'{name}'"),
            Token::Int(_) | Token::Uint(_) | Token::Double(_) => "a number".to_owned(),
            Token::Text(_) => "a text".to_owned(),
        };
        let text = format!("Syntax error: mismatched input {found} expecting {wanted}");
        (self.position(), text)
    }

    /// Reads something within one more bracket or prefix.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep(self.position()));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn expression(&mut self) -> Result<Node, Fault> {
        self.nested(|parser| {
            let condition = parser.either()?;
            let position = parser.position();
            if !parser.takes("?") {
                return Ok(condition);
            }
            let then = parser.either()?;
            parser.expect(":")?;
            let otherwise = parser.expression()?;
            Node::new(
                position,
                Kind::Conditional(Box::new([condition, then, otherwise])),
            )
        })
    }

    fn either(&mut self) -> Result<Node, Fault> {
        let mut left = self.both()?;
        loop {
            let position = self.position();
            if !self.takes("||") {
                return Ok(left);
            }
            left = Node::new(position, Kind::Either(left.into(), self.both()?.into()))?;
        }
    }

    fn both(&mut self) -> Result<Node, Fault> {
        let mut left = self.binary(0)?;
        loop {
            let position = self.position();
            if !self.takes("&&") {
                return Ok(left);
            }
            left = Node::new(position, Kind::Both(left.into(), self.binary(0)?.into()))?;
        }
    }

    fn binary(&mut self, level: usize) -> Result<Node, Fault> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        loop {
            let position = self.position();
            let operator = match self.peek() {
                Token::Sign(sign) => operators.iter().find(|(text, _)| text == sign),
                Token::Name(name) if name == "in" && level == 0 => Some(&("in", Operator::In)),
                _ => None,
            };
            let Some((_, operator)) = operator else {
                return Ok(left);
            };
            self.next += 1;
            let right = self.binary(level + 1)?;
            left = Node::new(position, Kind::Binary(*operator, left.into(), right.into()))?;
        }
    }

    fn unary(&mut self) -> Result<Node, Fault> {
        let position = self.position();
        if self.takes("!") {
            let operand = self.nested(Self::unary)?;
            return Node::new(position, Kind::Not(operand.into()));
        }
        if !self.takes("-") {
            return self.member();
        }
        // The smallest number has no positive counterpart, so a sign belongs to its number.
        if let Token::Int(number) = *self.peek() {
            self.next += 1;
            let number = 0_i64.checked_sub_unsigned(number);
            let number = number.ok_or_else(|| (position, "invalid int literal".to_owned()))?;
            return Node::new(position, Kind::Literal(Literal::Int(number)));
        }
        let operand = self.nested(Self::unary)?;
        Node::new(position, Kind::Negative(operand.into()))
    }

    fn member(&mut self) -> Result<Node, Fault> {
        let mut value = self.primary()?;
        loop {
            let position = self.position();
            if self.takes("[") {
                let index = self.expression()?;
                self.expect("]")?;
                value = Node::new(position, Kind::Index(value.into(), index.into()))?;
            } else if self.takes(".") {
                let Token::Name(name) = self.take() else {
                    self.next -= 1;
                    return Err(self.unexpected("a name"));
                };
                if matches!(self.peek(), Token::Sign("(")) {
                    return Err((position, undeclared(&name)));
                }
                value = Node::new(position, Kind::Select(value.into()))?;
            } else {
                return Ok(value);
            }
        }
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        let position = self.position();
        let literal = |literal| Node::new(position, Kind::Literal(literal));
        match self.take() {
            Token::Int(number) => {
                let number = i64::try_from(number);
                let number = number.map_err(|_| (position, "invalid int literal".to_owned()))?;
                literal(Literal::Int(number))
            }
            Token::Uint(number) => literal(Literal::Uint(number)),
            Token::Double(number) => literal(Literal::Double(number)),
            Token::Text(text) => literal(Literal::Text(text)),
            Token::Name(name) => match name.as_str() {
                "true" => literal(Literal::Bool(true)),
                "false" => literal(Literal::Bool(false)),
                "null" => literal(Literal::Null),
                word if word == "in" || RESERVED.contains(&word) => {
                    Err((position, format!("Syntax error: reserved identifier: {word}")))
                }
                _ if self.takes("(") => self.call(position, &name),
                _ => Node::new(position, Count::named(&name).map_or(Kind::Unknown, Kind::Count)),
            },
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                let items = self.items("]")?;
                Node::new(position, Kind::List(items))
            }
            _ => {
                self.next -= 1;
                Err(self.unexpected("a value"))
            }
        }
    }

    /// Expressions between commas, up to the closing bracket; a comma may stand behind the last.
    fn items(&mut self, end: &str) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(self.expression()?);
            if !self.takes(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok(items)
    }

    fn call(&mut self, position: Position, name: &str) -> Result<Node, Fault> {
        let function = match name {
            "int" => Function::Int,
            "uint" => Function::Uint,
            "double" => Function::Double,
            "string" => Function::Text,
            "bool" => Function::Bool,
            "dyn" => Function::Dyn,
            "size" => Function::Size,
            _ => return Err((position, undeclared(name))),
        };
        let mut arguments = self.items(")")?;
        match (arguments.pop(), arguments.is_empty()) {
            (Some(argument), true) => Node::new(position, Kind::Call(function, argument.into())),
            _ => Err((
                position,
                format!("found no matching overload for '{name}': it takes one argument"),
            )),
        }
    }
}

// === impl Node ===

impl Node {
    fn new(position: Position, kind: Kind) -> Result<Self, Fault> {
        let within = match &kind {
            Kind::Literal(_) | Kind::Count(_) | Kind::Unknown => 0,
            Kind::Select(one) | Kind::Not(one) | Kind::Negative(one) | Kind::Call(_, one) => one.depth,
            Kind::Index(one, other)
            | Kind::Both(one, other)
            | Kind::Either(one, other)
            | Kind::Binary(_, one, other) => one.depth.max(other.depth),
            Kind::List(items) => items.iter().map(|item| item.depth).max().unwrap_or(0),
            Kind::Conditional(parts) => parts.iter().map(|part| part.depth).max().unwrap_or(0),
        };
        if within >= MAX_DEPTH {
            return Err(too_deep(position));
        }
        Ok(Self {
            position,
            kind,
            depth: within + 1,
        })
    }
}

fn too_deep(position: Position) -> Fault {
    let text = format!("expression is nested more than {MAX_DEPTH} levels deep");
    (position, text)
}

fn undeclared(name: &str) -> String {
    format!("undeclared reference to '{name}' (in container '')")
}
