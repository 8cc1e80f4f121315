//! What an expression says of counts.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::Counts;
use super::parse::{Function, Kind, Literal, Node, Operator};

/// A value at hand.
#[derive(Clone, Debug)]
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Cow<'a, str>),
    List(Vec<Self>),
}

/// No value: an unknown name, a number out of range, a division by zero, operands that do not fit.
#[derive(Clone, Copy, Debug)]
struct Failed;

type Outcome<'a> = Result<Value<'a>, Failed>;

/// Whether the expression is true.
pub(super) fn condition(root: &Node, counts: &Counts) -> bool {
    matches!(evaluate(root, counts), Ok(Value::Bool(true)))
}

fn evaluate<'a>(node: &'a Node, counts: &Counts) -> Outcome<'a> {
    match &node.kind {
        Kind::Literal(literal) => Ok(Value::of(literal)),
        Kind::Count(count) => Ok(Value::Int(counts.get(*count).into())),
        Kind::Unknown | Kind::Select(_) => Err(Failed),
        Kind::List(items) => {
            let items = items.iter().map(|item| evaluate(item, counts));
            Ok(Value::List(items.collect::<Result<_, _>>()?))
        }
        Kind::Index(list, index) => match (evaluate(list, counts)?, evaluate(index, counts)?.whole()) {
            (Value::List(items), Some(index)) => {
                let index = usize::try_from(index).map_err(|_| Failed)?;
                items.into_iter().nth(index).ok_or(Failed)
            }
            _ => Err(Failed),
        },
        Kind::Not(operand) => match evaluate(operand, counts)? {
            Value::Bool(value) => Ok(Value::Bool(!value)),
            _ => Err(Failed),
        },
        Kind::Negative(operand) => match evaluate(operand, counts)? {
            Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(Failed),
            Value::Double(number) => Ok(Value::Double(-number)),
            _ => Err(Failed),
        },
        Kind::Both(left, right) => decided_by(false, left, right, counts),
        Kind::Either(left, right) => decided_by(true, left, right, counts),
        Kind::Binary(operator, left, right) => {
            binary(*operator, &evaluate(left, counts)?, evaluate(right, counts)?)
        }
        Kind::Conditional(parts) => {
            let [condition, then, otherwise] = &**parts;
            match evaluate(condition, counts)? {
                Value::Bool(true) => evaluate(then, counts),
                Value::Bool(false) => evaluate(otherwise, counts),
                _ => Err(Failed),
            }
        }
        Kind::Call(function, argument) => call(*function, evaluate(argument, counts)?),
    }
}

/// `&&` and `||`: the deciding value on either side wins, even over a failure of the other.
fn decided_by<'a>(deciding: bool, left: &'a Node, right: &'a Node, counts: &Counts) -> Outcome<'a> {
    let left = evaluate(left, counts);
    if matches!(left, Ok(Value::Bool(value)) if value == deciding) {
        return left;
    }
    match (left, evaluate(right, counts)) {
        (_, Ok(Value::Bool(value))) if value == deciding => Ok(Value::Bool(value)),
        (Ok(Value::Bool(_)), right @ Ok(Value::Bool(_))) => right,
        _ => Err(Failed),
    }
}

fn binary<'a>(operator: Operator, left: &Value<'a>, right: Value<'a>) -> Outcome<'a> {
    let compared = |fits: fn(Ordering) -> bool| {
        let order = left.order(&right).ok_or(Failed)?;
        // A number that is none is neither less nor greater nor equal.
        Ok(Value::Bool(order.is_some_and(fits)))
    };
    match operator {
        Operator::Equal => Ok(Value::Bool(left.equals(&right))),
        Operator::NotEqual => Ok(Value::Bool(!left.equals(&right))),
        Operator::Less => compared(Ordering::is_lt),
        Operator::LessOrEqual => compared(Ordering::is_le),
        Operator::Greater => compared(Ordering::is_gt),
        Operator::GreaterOrEqual => compared(Ordering::is_ge),
        Operator::In => match &right {
            Value::List(items) => Ok(Value::Bool(items.iter().any(|item| item.equals(left)))),
            _ => Err(Failed),
        },
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            arithmetic(operator, left, right)
        }
    }
}

fn arithmetic<'a>(operator: Operator, left: &Value<'a>, right: Value<'a>) -> Outcome<'a> {
    match (left, right) {
        (&Value::Int(left), Value::Int(right)) => {
            let result = match operator {
                Operator::Add => left.checked_add(right),
                Operator::Subtract => left.checked_sub(right),
                Operator::Multiply => left.checked_mul(right),
                Operator::Divide => left.checked_div(right),
                _ => left.checked_rem(right),
            };
            result.map(Value::Int).ok_or(Failed)
        }
        (&Value::Uint(left), Value::Uint(right)) => {
            let result = match operator {
                Operator::Add => left.checked_add(right),
                Operator::Subtract => left.checked_sub(right),
                Operator::Multiply => left.checked_mul(right),
                Operator::Divide => left.checked_div(right),
                _ => left.checked_rem(right),
            };
            result.map(Value::Uint).ok_or(Failed)
        }
        (&Value::Double(left), Value::Double(right)) => match operator {
            Operator::Add => Ok(Value::Double(left + right)),
            Operator::Subtract => Ok(Value::Double(left - right)),
            Operator::Multiply => Ok(Value::Double(left * right)),
            Operator::Divide => Ok(Value::Double(left / right)),
            _ => Err(Failed),
        },
        (Value::Text(left), Value::Text(right)) if operator == Operator::Add => {
            Ok(Value::Text(format!("{left}{right}").into()))
        }
        (Value::List(left), Value::List(right)) if operator == Operator::Add => {
            Ok(Value::List(left.iter().cloned().chain(right).collect()))
        }
        _ => Err(Failed),
    }
}

fn call(function: Function, argument: Value<'_>) -> Outcome<'_> {
    match function {
        Function::Int => argument.to_int().map(Value::Int).ok_or(Failed),
        Function::Uint => argument.to_uint().map(Value::Uint).ok_or(Failed),
        Function::Double => argument.to_double().map(Value::Double).ok_or(Failed),
        Function::Text => match argument {
            Value::Bool(value) => Ok(Value::Text(value.to_string().into())),
            Value::Int(number) => Ok(Value::Text(number.to_string().into())),
            Value::Uint(number) => Ok(Value::Text(number.to_string().into())),
            Value::Double(number) => Ok(Value::Text(number.to_string().into())),
            text @ Value::Text(_) => Ok(text),
            Value::Null | Value::List(_) => Err(Failed),
        },
        Function::Bool => match &argument {
            Value::Bool(_) => Ok(argument),
            Value::Text(text) => match &**text {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
                _ => Err(Failed),
            },
            _ => Err(Failed),
        },
        Function::Dyn => Ok(argument),
        Function::Size => {
            let length = match &argument {
                Value::Text(text) => text.chars().count(),
                Value::List(items) => items.len(),
                _ => return Err(Failed),
            };
            i64::try_from(length).map(Value::Int).map_err(|_| Failed)
        }
    }
}

// === impl Value ===

impl<'a> Value<'a> {
    fn of(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Int(number) => Self::Int(*number),
            Literal::Uint(number) => Self::Uint(*number),
            Literal::Double(number) => Self::Double(*number),
            Literal::Text(text) => Self::Text(Cow::Borrowed(text)),
        }
    }

    /// The value as a whole number of any sign and size; none if it is not exactly one.
    fn whole(&self) -> Option<i128> {
        match *self {
            Self::Int(number) => Some(number.into()),
            Self::Uint(number) => Some(number.into()),
            Self::Double(number) if number.fract() == 0.0 && number.abs() < 1e30 => Some(number as i128),
            _ => None,
        }
    }

    fn to_int(&self) -> Option<i64> {
        match self {
            Self::Double(number) if number.is_finite() => truncated(*number)?.try_into().ok(),
            Self::Text(text) => text.parse().ok(),
            other => other.whole()?.try_into().ok(),
        }
    }

    fn to_uint(&self) -> Option<u64> {
        match self {
            Self::Double(number) if number.is_finite() => truncated(*number)?.try_into().ok(),
            Self::Text(text) => text.parse().ok(),
            other => other.whole()?.try_into().ok(),
        }
    }

    fn to_double(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Uint(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Values of different types are not equal, but numbers are equal whatever their type.
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::List(one), Self::List(another)) => {
                one.len() == another.len()
                    && one.iter().zip(another).all(|(one, another)| one.equals(another))
            }
            _ => self.order(other) == Some(Some(Ordering::Equal)),
        }
    }

    /// Which of two values comes first; none if they cannot be compared.
    fn order(&self, other: &Self) -> Option<Option<Ordering>> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(another)) => Some(Some(one.cmp(another))),
            (Self::Text(one), Self::Text(another)) => Some(Some(one.cmp(another))),
            _ => match (self.whole(), other.whole()) {
                (Some(one), Some(another)) => Some(Some(one.cmp(&another))),
                _ => Some(self.number()?.partial_cmp(&other.number()?)),
            },
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            other => other.to_double(),
        }
    }
}

/// A number without its fraction; none far out of the range of whole numbers.
fn truncated(number: f64) -> Option<i128> {
    (number.abs() < 1e30).then_some(number.trunc() as i128)
}
