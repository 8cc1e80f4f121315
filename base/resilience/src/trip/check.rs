//! Whether the types of operands fit, before anything is evaluated.

use super::Fault;
use super::parse::{Function, Kind, Literal, Node, Operator};

/// The type of a part, as far as it is known without the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Any type.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    List(Box<Self>),
}

/// The type of an expression, if those of all its parts fit.
pub(super) fn check(node: &Node) -> Result<Type, Fault> {
    let misfit = |operator: &str, operands: &[&Type]| {
        let names: Vec<String> = operands.iter().map(|operand| operand.name()).collect();
        let text = format!(
            "found no matching overload for '{operator}' applied to '({})'",
            names.join(", ")
        );
        (node.position, text)
    };
    match &node.kind {
        Kind::Literal(literal) => Ok(Type::of(literal)),
        Kind::Count(_) => Ok(Type::Int),
        Kind::Unknown => Ok(Type::Dyn),
        Kind::Select(of) => match check(of)? {
            Type::Dyn => Ok(Type::Dyn),
            other => Err((
                node.position,
                format!("type '{}' does not support field selection", other.name()),
            )),
        },
        Kind::List(items) => {
            let types = items.iter().map(check).collect::<Result<Vec<_>, _>>()?;
            let item = match types.split_first() {
                Some((first, rest)) if rest.iter().all(|other| other == first) => first.clone(),
                _ => Type::Dyn,
            };
            Ok(Type::List(Box::new(item)))
        }
        Kind::Index(list, index) => match (check(list)?, check(index)?) {
            (Type::Dyn, _) => Ok(Type::Dyn),
            (Type::List(item), index) if index.fits(&Type::Int) => Ok(*item),
            (list, index) => Err(misfit("_[_]", &[&list, &index])),
        },
        Kind::Not(operand) => match check(operand)? {
            Type::Bool | Type::Dyn => Ok(Type::Bool),
            other => Err(misfit("!_", &[&other])),
        },
        Kind::Negative(operand) => match check(operand)? {
            same @ (Type::Int | Type::Double | Type::Dyn) => Ok(same),
            other => Err(misfit("-_", &[&other])),
        },
        Kind::Both(left, right) => logical("_&&_", left, right, misfit),
        Kind::Either(left, right) => logical("_||_", left, right, misfit),
        Kind::Binary(operator, left, right) => {
            let (left, right) = (check(left)?, check(right)?);
            let found = binary(*operator, &left, &right);
            found.ok_or_else(|| misfit(operator.name(), &[&left, &right]))
        }
        Kind::Conditional(parts) => {
            let [condition, then, otherwise] = &**parts;
            let (condition, then, otherwise) = (check(condition)?, check(then)?, check(otherwise)?);
            match (condition.fits(&Type::Bool), then.joined(&otherwise)) {
                (true, Some(joined)) => Ok(joined),
                _ => Err(misfit("_?_:_", &[&condition, &then, &otherwise])),
            }
        }
        Kind::Call(function, argument) => {
            let argument = check(argument)?;
            let found = call(*function, &argument);
            found.ok_or_else(|| misfit(function.name(), &[&argument]))
        }
    }
}

fn logical(
    name: &str,
    left: &Node,
    right: &Node,
    misfit: impl Fn(&str, &[&Type]) -> Fault,
) -> Result<Type, Fault> {
    let (left, right) = (check(left)?, check(right)?);
    if left.fits(&Type::Bool) && right.fits(&Type::Bool) {
        return Ok(Type::Bool);
    }
    Err(misfit(name, &[&left, &right]))
}

/// The type of a result; none if the operator does not take such operands.
fn binary(operator: Operator, left: &Type, right: &Type) -> Option<Type> {
    if operator == Operator::In {
        return match right {
            Type::Dyn => Some(Type::Bool),
            Type::List(item) if left.joined(item).is_some() => Some(Type::Bool),
            _ => None,
        };
    }
    let joined = left.joined(right)?;
    match operator {
        Operator::Equal | Operator::NotEqual => Some(Type::Bool),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            (!matches!(joined, Type::Null | Type::List(_))).then_some(Type::Bool)
        }
        Operator::Add => (!matches!(joined, Type::Null | Type::Bool)).then_some(joined),
        Operator::Subtract | Operator::Multiply | Operator::Divide => joined.is_number().then_some(joined),
        Operator::Remainder => matches!(joined, Type::Int | Type::Uint | Type::Dyn).then_some(joined),
        Operator::In => None,
    }
}

fn call(function: Function, argument: &Type) -> Option<Type> {
    let is_text = matches!(argument, Type::Text | Type::Dyn);
    let is_simple = argument.is_number() || is_text;
    match function {
        Function::Int => is_simple.then_some(Type::Int),
        Function::Uint => is_simple.then_some(Type::Uint),
        Function::Double => is_simple.then_some(Type::Double),
        Function::Text => (is_simple || *argument == Type::Bool).then_some(Type::Text),
        Function::Bool => (is_text || *argument == Type::Bool).then_some(Type::Bool),
        Function::Dyn => Some(Type::Dyn),
        Function::Size => (is_text || matches!(argument, Type::List(_))).then_some(Type::Int),
    }
}

// === impl Type ===

impl Type {
    fn of(literal: &Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(_) => Self::Bool,
            Literal::Int(_) => Self::Int,
            Literal::Uint(_) => Self::Uint,
            Literal::Double(_) => Self::Double,
            Literal::Text(_) => Self::Text,
        }
    }

    /// Whether a value of this type may stand where the other type is wanted.
    fn fits(&self, wanted: &Self) -> bool {
        self.joined(wanted).is_some()
    }

    /// What both can be at once; none if that is nothing.
    fn joined(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Dyn, known) | (known, Self::Dyn) => Some(known.clone()),
            (Self::List(one), Self::List(another)) => {
                Some(Self::List(Box::new(one.joined(another).unwrap_or(Self::Dyn))))
            }
            (one, another) => (one == another).then(|| one.clone()),
        }
    }

    const fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double | Self::Dyn)
    }

    fn name(&self) -> String {
        let name = match self {
            Self::Dyn => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::List(item) => return format!("list({})", item.name()),
        };
        name.to_owned()
    }
}

// === impl Operator ===

impl Operator {
    const fn name(self) -> &'static str {
        match self {
            Self::Equal => "_==_",
            Self::NotEqual => "_!=_",
            Self::Less => "_<_",
            Self::LessOrEqual => "_<=_",
            Self::Greater => "_>_",
            Self::GreaterOrEqual => "_>=_",
            Self::In => "@in",
            Self::Add => "_+_",
            Self::Subtract => "_-_",
            Self::Multiply => "_*_",
            Self::Divide => "_/_",
            Self::Remainder => "_%_",
        }
    }
}

// === impl Function ===

impl Function {
    const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bool => "bool",
            Self::Dyn => "dyn",
            Self::Size => "size",
        }
    }
}
