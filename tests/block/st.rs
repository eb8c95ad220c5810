//! A small, strict interpreter for the Structured Text of `plc-configs/blocks/`.
//!
//! Exactly the subset those files use: BOOL, UINT, UDINT, LREAL, function block instances;
//! assignment, IF, calls with named inputs; no loops. Strict: an unknown name, mixed types, or an
//! unsigned result outside its type ends the test, because PLCs differ in what they do then.

use std::collections::HashMap;

/// A value of the subset. A literal without a point fits both unsigned types.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    Bool(bool),
    Uint(u64),
    Real(f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bool,
    Uint,
    Udint,
    Literal,
    Lreal,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Whole(u64),
    Real(f64),
    Sign(&'static str),
}

/// Longer signs first.
const SIGNS: [&str; 18] =
    [":=", "<>", ">=", "<=", "(", ")", ";", ":", ",", ".", ">", "<", "=", "+", "-", "*", "/", "%"];

/// Words no variable may have, as far as compilers are known to mind.
const RESERVED: [&str; 22] = [
    "DT", "EN", "ENO", "R", "S", "LD", "ST", "AT", "BY", "DO", "OF", "ON", "TO", "TOD", "DATE",
    "TIME", "STEP", "TASK", "TRUE", "FALSE", "NOT", "MOD",
];

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return out;
        }
        if let Some(comment) = rest.strip_prefix("(*") {
            let (inside, after) = comment.split_once("*)").expect("a comment that ends");
            assert!(!inside.contains("(*"), "nested comments are not portable: {inside}");
            rest = after;
            continue;
        }
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let first = rest.chars().next().expect("not empty");
        if first.is_ascii_digit() {
            let point = |c: char| word(c) || c == '.';
            let mut end = rest.find(|c| !point(c)).unwrap_or(rest.len());
            if rest[..end].ends_with('.') {
                end -= 1;
            }
            let (number, after) = rest.split_at(end);
            out.push(if number.contains('.') {
                Token::Real(number.parse().expect("a number"))
            } else {
                Token::Whole(number.parse().expect("a whole number"))
            });
            rest = after;
        } else if word(first) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            assert!(!name.contains("__") && !name.ends_with('_'), "{name} is not portable");
            out.push(Token::Word(name.to_ascii_uppercase()));
            rest = after;
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.unwrap_or_else(|| panic!("what is {rest:.20}?"));
            out.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        }
    }
}

#[derive(Clone, Debug)]
enum Expr {
    Literal(Value, Kind),
    Name(Vec<String>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    ToReal(Box<Expr>),
    Two(&'static str, Box<Expr>, Box<Expr>),
}

#[derive(Clone, Debug)]
enum Statement {
    Set(Vec<String>, Expr),
    If(Vec<(Expr, Vec<Statement>)>, Vec<Statement>),
    Call(String, Vec<(String, Expr)>),
}

#[derive(Clone, Debug)]
struct Variable {
    name: String,
    kind: String,
    initial: Option<Expr>,
    input: bool,
}

#[derive(Clone, Debug)]
struct Unit {
    variables: Vec<Variable>,
    body: Vec<Statement>,
}

/// The blocks and programs of some files.
#[derive(Clone, Debug, Default)]
pub struct Library(HashMap<String, Unit>);

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().expect("more text").clone();
        self.at += 1;
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = match self.peek() {
            Some(Token::Sign(s)) => *s == sign,
            Some(Token::Word(w)) => w == sign,
            _ => false,
        };
        self.at += usize::from(found);
        found
    }

    fn must(&mut self, sign: &str) {
        assert!(self.take(sign), "expected {sign}, found {:?} at {}", self.peek(), self.at);
    }

    fn name(&mut self) -> String {
        match self.next() {
            Token::Word(word) => word,
            other => panic!("expected a name, found {other:?}"),
        }
    }

    fn path(&mut self) -> Vec<String> {
        let mut path = vec![self.name()];
        while self.take(".") {
            path.push(self.name());
        }
        path
    }

    fn unit(&mut self) -> Option<(String, Unit)> {
        self.peek()?;
        let end = match self.name().as_str() {
            "FUNCTION_BLOCK" => "END_FUNCTION_BLOCK",
            "PROGRAM" => "END_PROGRAM",
            other => panic!("{other} is not in the subset"),
        };
        let name = self.name();
        let mut variables = Vec::new();
        loop {
            let input = if self.take("VAR_INPUT") {
                true
            } else if self.take("VAR_OUTPUT") {
                false
            } else if self.take("VAR") {
                self.take("RETAIN");
                false
            } else {
                break;
            };
            while !self.take("END_VAR") {
                let name = self.name();
                assert!(!RESERVED.contains(&name.as_str()), "{name} is reserved");
                self.must(":");
                let kind = self.name();
                let initial = self.take(":=").then(|| self.expr());
                self.must(";");
                variables.push(Variable { name, kind, initial, input });
            }
        }
        let body = self.statements(&[end]);
        self.must(end);
        Some((name, Unit { variables, body }))
    }

    fn statements(&mut self, ends: &[&str]) -> Vec<Statement> {
        let mut out = Vec::new();
        while !matches!(self.peek(), Some(Token::Word(w)) if ends.contains(&w.as_str())) {
            out.push(self.statement());
        }
        out
    }

    fn statement(&mut self) -> Statement {
        if self.take("IF") {
            let mut arms = Vec::new();
            loop {
                let condition = self.expr();
                self.must("THEN");
                arms.push((condition, self.statements(&["ELSIF", "ELSE", "END_IF"])));
                if !self.take("ELSIF") {
                    break;
                }
            }
            let other = if self.take("ELSE") { self.statements(&["END_IF"]) } else { Vec::new() };
            self.must("END_IF");
            self.must(";");
            return Statement::If(arms, other);
        }
        let path = self.path();
        if self.take("(") {
            let [name] = path.as_slice() else { panic!("{path:?} is called") };
            let mut inputs = Vec::new();
            while !self.take(")") {
                let input = self.name();
                self.must(":=");
                inputs.push((input, self.expr()));
                self.take(",");
            }
            self.must(";");
            return Statement::Call(name.clone(), inputs);
        }
        self.must(":=");
        let value = self.expr();
        self.must(";");
        Statement::Set(path, value)
    }

    fn expr(&mut self) -> Expr {
        self.level(0)
    }

    fn level(&mut self, level: usize) -> Expr {
        const LEVELS: [&[&str]; 6] =
            [&["OR"], &["AND"], &["=", "<>"], &[">=", "<=", ">", "<"], &["+", "-"], &["*", "/"]];
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1);
        while let Some(sign) = signs.iter().find(|sign| self.take(sign)) {
            let right = self.level(level + 1);
            left = Expr::Two(sign, Box::new(left), Box::new(right));
        }
        left
    }

    fn unary(&mut self) -> Expr {
        if self.take("NOT") {
            return Expr::Not(Box::new(self.unary()));
        }
        if self.take("-") {
            return Expr::Minus(Box::new(self.unary()));
        }
        if self.take("(") {
            let inner = self.expr();
            self.must(")");
            return inner;
        }
        if self.take("TRUE") {
            return Expr::Literal(Value::Bool(true), Kind::Bool);
        }
        if self.take("FALSE") {
            return Expr::Literal(Value::Bool(false), Kind::Bool);
        }
        if self.take("UDINT_TO_LREAL") {
            self.must("(");
            let inner = self.expr();
            self.must(")");
            return Expr::ToReal(Box::new(inner));
        }
        match self.peek() {
            Some(Token::Whole(n)) => {
                let literal = Expr::Literal(Value::Uint(*n), Kind::Literal);
                self.at += 1;
                literal
            }
            Some(Token::Real(x)) => {
                let literal = Expr::Literal(Value::Real(*x), Kind::Lreal);
                self.at += 1;
                literal
            }
            _ => Expr::Name(self.path()),
        }
    }
}

impl Library {
    /// Reads the units of a file.
    pub fn read(&mut self, text: &str) {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        while let Some((name, unit)) = parser.unit() {
            assert!(self.0.insert(name.clone(), unit).is_none(), "{name} twice");
        }
    }

    /// A unit at its initial values.
    pub fn instance(&self, name: &str) -> Instance {
        let name = name.to_ascii_uppercase();
        let unit = self.0.get(&name).unwrap_or_else(|| panic!("no unit {name}"));
        let mut it = Instance { unit: name, values: HashMap::new(), inner: HashMap::new() };
        for variable in &unit.variables {
            let (kind, zero) = match variable.kind.as_str() {
                "BOOL" => (Kind::Bool, Value::Bool(false)),
                "UINT" => (Kind::Uint, Value::Uint(0)),
                "UDINT" => (Kind::Udint, Value::Uint(0)),
                "LREAL" => (Kind::Lreal, Value::Real(0.0)),
                block => {
                    it.inner.insert(variable.name.clone(), self.instance(block));
                    continue;
                }
            };
            let twice = it.values.insert(variable.name.clone(), (kind, zero));
            assert!(twice.is_none(), "{} twice", variable.name);
            if let Some(initial) = &variable.initial {
                let value = it.eval(initial);
                it.set(std::slice::from_ref(&variable.name), value);
            }
        }
        it
    }
}

/// A block or program with its values.
#[derive(Clone, Debug)]
pub struct Instance {
    unit: String,
    values: HashMap<String, (Kind, Value)>,
    inner: HashMap<String, Instance>,
}

impl Instance {
    /// Value of a member, such as `VOut` or `Owner.EpochNow`.
    pub fn get(&self, member: &str) -> Value {
        let path: Vec<String> = member.split('.').map(str::to_ascii_uppercase).collect();
        self.look(&path).1
    }

    /// Sets a member from outside.
    pub fn put(&mut self, member: &str, value: Value) {
        let path: Vec<String> = member.split('.').map(str::to_ascii_uppercase).collect();
        let kind = match value {
            Value::Bool(_) => Kind::Bool,
            Value::Uint(_) => Kind::Literal,
            Value::Real(_) => Kind::Lreal,
        };
        self.set(&path, (kind, value));
    }

    /// One call.
    pub fn call(&mut self, library: &Library) {
        let unit = library.0.get(&self.unit).expect("a known unit");
        self.run(&unit.body, library);
    }

    fn run(&mut self, statements: &[Statement], library: &Library) {
        for statement in statements {
            match statement {
                Statement::Set(path, value) => {
                    let value = self.eval(value);
                    self.set(path, value);
                }
                Statement::If(arms, other) => {
                    let arm = arms.iter().find(|(condition, _)| self.truth(condition));
                    self.run(arm.map_or(other, |(_, body)| body), library);
                }
                Statement::Call(name, inputs) => {
                    let given: Vec<_> =
                        inputs.iter().map(|(input, value)| (input, self.eval(value))).collect();
                    let block = self.inner.get_mut(name).expect("a block of that name");
                    let unit = library.0.get(&block.unit).expect("a known unit");
                    for (input, value) in given {
                        let known = unit.variables.iter().any(|v| v.input && v.name == *input);
                        assert!(known, "{name} has no input {input}");
                        block.set(std::slice::from_ref(input), value);
                    }
                    block.call(library);
                }
            }
        }
    }

    fn look(&self, path: &[String]) -> (Kind, Value) {
        match path {
            [name] => *self.values.get(name).unwrap_or_else(|| panic!("no variable {name}")),
            [block, rest @ ..] => {
                self.inner.get(block).unwrap_or_else(|| panic!("no block {block}")).look(rest)
            }
            [] => panic!("no name"),
        }
    }

    fn set(&mut self, path: &[String], (kind, value): (Kind, Value)) {
        match path {
            [name] => {
                let slot = self.values.get_mut(name).unwrap_or_else(|| panic!("no {name}"));
                assert!(fits(slot.0, kind, value), "{name}: {value:?} into {:?}", slot.0);
                slot.1 = value;
            }
            [block, rest @ ..] => {
                self.inner.get_mut(block).expect("a block").set(rest, (kind, value));
            }
            [] => panic!("no name"),
        }
    }

    fn truth(&self, expr: &Expr) -> bool {
        match self.eval(expr) {
            (_, Value::Bool(truth)) => truth,
            other => panic!("{other:?} as a condition"),
        }
    }

    fn eval(&self, expr: &Expr) -> (Kind, Value) {
        match expr {
            Expr::Literal(value, kind) => (*kind, *value),
            Expr::Name(path) => self.look(path),
            Expr::Not(inner) => (Kind::Bool, Value::Bool(!self.truth(inner))),
            Expr::Minus(inner) => match self.eval(inner) {
                (Kind::Lreal, Value::Real(x)) => (Kind::Lreal, Value::Real(-x)),
                other => panic!("minus {other:?}"),
            },
            Expr::ToReal(inner) => match self.eval(inner) {
                (Kind::Udint, Value::Uint(n)) => (Kind::Lreal, Value::Real(n as f64)),
                other => panic!("UDINT_TO_LREAL of {other:?}"),
            },
            Expr::Two(sign, left, right) => two(sign, self.eval(left), self.eval(right)),
        }
    }
}

fn max_of(kind: Kind) -> u64 {
    if kind == Kind::Uint { u64::from(u16::MAX) } else { u64::from(u32::MAX) }
}

fn fits(slot: Kind, kind: Kind, value: Value) -> bool {
    match value {
        Value::Uint(n) => {
            let whole = matches!(slot, Kind::Uint | Kind::Udint);
            whole && (kind == slot || kind == Kind::Literal) && n <= max_of(slot)
        }
        _ => kind == slot,
    }
}

fn two(sign: &str, (ka, a): (Kind, Value), (kb, b): (Kind, Value)) -> (Kind, Value) {
    let truth = |truth| (Kind::Bool, Value::Bool(truth));
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => truth(match sign {
            "AND" => a && b,
            "OR" => a || b,
            "=" => a == b,
            "<>" => a != b,
            other => panic!("BOOL {other} BOOL"),
        }),
        (Value::Uint(a), Value::Uint(b)) => {
            let kind = if ka == Kind::Literal { kb } else { ka };
            assert!(
                fits(kind, ka, Value::Uint(a)) || kind == Kind::Literal,
                "{ka:?} {sign} {kb:?}"
            );
            assert!(
                fits(kind, kb, Value::Uint(b)) || kind == Kind::Literal,
                "{ka:?} {sign} {kb:?}"
            );
            let result = match sign {
                "+" => a.checked_add(b).filter(|sum| *sum <= max_of(kind)),
                "-" => a.checked_sub(b),
                "=" => return truth(a == b),
                "<>" => return truth(a != b),
                ">" => return truth(a > b),
                "<" => return truth(a < b),
                ">=" => return truth(a >= b),
                "<=" => return truth(a <= b),
                other => panic!("{other} of whole numbers is not in the subset"),
            };
            (
                kind,
                Value::Uint(result.unwrap_or_else(|| panic!("{a} {sign} {b} overflows {kind:?}"))),
            )
        }
        (Value::Real(a), Value::Real(b)) => {
            let result = match sign {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                "/" => a / b,
                // The standard's comparisons of numbers.
                "<>" => return truth(a.partial_cmp(&b) != Some(std::cmp::Ordering::Equal)),
                ">" => return truth(a > b),
                "<" => return truth(a < b),
                ">=" => return truth(a >= b),
                "<=" => return truth(a <= b),
                other => panic!("LREAL {other} LREAL"),
            };
            (Kind::Lreal, Value::Real(result))
        }
        _ => panic!("{a:?} {sign} {b:?}: mixed types"),
    }
}
