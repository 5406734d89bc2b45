//! Runs a parsed template within bounds of depth, steps and output.

use super::ast::{Branch, Command, Definition, Node, Operand, OperandKind, Pipe, Source, Span};
use super::fields::{FieldError, field};
use super::functions::{Call, Function, Run};
use super::html::Page;
use super::print::{Bounded, plain};
use super::value::{SafeKind, Value};
use super::{Definitions, Env, ExecError, Limits, MissingKey, Mode};

/// How deep templates, blocks and parentheses may be nested while they run.
const MAX_DEPTH: usize = 160;

/// Runs `main`; `definitions` are the templates that it may call, the first that has a name wins.
pub(super) fn run(
    main: &Definition,
    definitions: &[&Definitions],
    dot: &Value,
    variables: &[(&str, Value)],
    env: &Env<'_>,
    limits: Limits,
) -> Result<String, ExecError> {
    let mut vars = vec![("$", dot.clone())];
    vars.extend(variables.iter().cloned());
    let mut exec = Exec {
        source: &main.source,
        definitions,
        env,
        limits,
        vars,
        out: Bounded::new(limits.output),
        page: (env.mode == Mode::Html).then(Page::default),
        steps: 0,
        depth: 0,
    };
    exec.nodes(&main.nodes, dot)?;
    Ok(exec.out.text)
}

struct Exec<'a> {
    /// The text that errors point into.
    source: &'a Source,
    definitions: &'a [&'a Definitions],
    env: &'a Env<'a>,
    limits: Limits,
    vars: Vec<(&'a str, Value)>,
    out: Bounded,
    page: Option<Page>,
    steps: usize,
    depth: usize,
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Exec<'a> {
    fn error(&self, span: Span, message: impl std::fmt::Display) -> ExecError {
        let (line, column) = self.source.place(span.start as usize);
        ExecError {
            message: format!(
                "template: {name}:{line}:{column}: executing {name:?} at <{at}>: {message}",
                name = self.source.name,
                at = self.source.excerpt(span),
            ),
        }
    }

    fn step(&mut self, span: Span, cost: usize) -> Result<(), ExecError> {
        self.steps = self.steps.saturating_add(cost);
        if self.steps > self.limits.steps {
            return Err(self.error(span, format!("takes more than {} steps", self.limits.steps)));
        }
        Ok(())
    }

    fn deeper(&mut self, span: Span) -> Result<(), ExecError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(span, "exceeded maximum template depth"));
        }
        Ok(())
    }

    fn write(&mut self, text: &str, span: Span) -> Result<(), ExecError> {
        self.out.push(text);
        if self.out.overflowed {
            return Err(self.error(span, format!("output is longer than {} bytes", self.limits.output)));
        }
        Ok(())
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Value) -> Result<Flow, ExecError> {
        for node in nodes {
            match node {
                Node::Text(text) => {
                    let span = Span { start: 0, end: 0 };
                    self.step(span, 1)?;
                    match &mut self.page {
                        Some(page) => {
                            let text = page.text(text);
                            self.write(&text, span)?;
                        }
                        None => self.write(text, span)?,
                    }
                }
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.print(&value, pipe.span)?;
                    }
                }
                Node::If(branch) | Node::With(branch) => {
                    let flow = self.branch(branch, dot, matches!(node, Node::With(_)))?;
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Template { name, pipe, span } => {
                    let value = match pipe {
                        Some(pipe) => self.pipe(pipe, dot)?,
                        None => Value::Nil,
                    };
                    self.template(name, value, *span)?;
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value, sets_dot: bool) -> Result<Flow, ExecError> {
        self.deeper(branch.pipe.span)?;
        let scope = self.vars.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = if value.truth() {
            self.nodes(&branch.body, if sets_dot { &value } else { dot })?
        } else {
            self.nodes(&branch.otherwise, dot)?
        };
        self.vars.truncate(scope);
        self.depth -= 1;
        Ok(flow)
    }

    fn range(&mut self, branch: &'a Branch, dot: &Value) -> Result<(), ExecError> {
        self.deeper(branch.pipe.span)?;
        let scope = self.vars.len();
        let span = branch.pipe.span;
        let over = self.pipe_value(&branch.pipe, dot)?;
        let mut any = false;
        let mut once = |exec: &mut Self, key: Value, item: &Value, number: bool| -> Result<bool, ExecError> {
            any = true;
            exec.step(span, 1)?;
            let mark = exec.vars.len();
            match branch.pipe.variables.as_slice() {
                [] => {}
                [one] => exec.set(one, item.clone(), branch.pipe.assigns, span)?,
                [_, _, ..] if number => {
                    return Err(
                        exec.error(span, "can't use a number to iterate over with more than one variable")
                    );
                }
                [at, one, ..] => {
                    exec.set(at, key, branch.pipe.assigns, span)?;
                    exec.set(one, item.clone(), branch.pipe.assigns, span)?;
                }
            }
            let flow = exec.nodes(&branch.body, item)?;
            exec.vars.truncate(mark);
            Ok(flow != Flow::Break)
        };
        match &over {
            Value::List(list) => {
                for (i, item) in list.items.iter().enumerate() {
                    if !once(self, Value::Int(i as i64), item, false)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in &map.entries {
                    if !once(self, Value::Str(key.clone()), item, false)? {
                        break;
                    }
                }
            }
            Value::Int(n) => {
                for i in 0..*n {
                    if !once(self, Value::Int(i), &Value::Int(i), true)? {
                        break;
                    }
                }
            }
            Value::Nil => {}
            other => {
                let text = plain(other, 100).unwrap_or_else(|_| other.type_name().to_owned());
                return Err(self.error(span, format!("range can't iterate over {text}")));
            }
        }
        if !any {
            self.nodes(&branch.otherwise, dot)?;
        }
        self.vars.truncate(scope);
        self.depth -= 1;
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&'a Definition> {
        self.definitions.iter().find_map(|d| d.get(name))
    }

    fn template(&mut self, name: &str, dot: Value, span: Span) -> Result<(), ExecError> {
        let Some(definition) = self.find(name) else {
            return Err(self.error(span, format!("template {name:?} not defined")));
        };
        self.deeper(span)?;
        let vars = std::mem::replace(&mut self.vars, vec![("$", dot.clone())]);
        let source = std::mem::replace(&mut self.source, &definition.source);
        self.nodes(&definition.nodes, &dot)?;
        self.source = source;
        self.vars = vars;
        self.depth -= 1;
        Ok(())
    }

    fn print(&mut self, value: &Value, span: Span) -> Result<(), ExecError> {
        let text = match value {
            Value::Nil => "<no value>".to_owned(),
            value => plain(value, self.limits.output).map_err(|e| self.error(span, e))?,
        };
        match &mut self.page {
            Some(page) => {
                let text = page.value(value, &text);
                self.write(&text, span)
            }
            None => self.write(&text, span),
        }
    }

    fn set(&mut self, name: &'a str, value: Value, assigns: bool, span: Span) -> Result<(), ExecError> {
        if !assigns {
            self.vars.push((name, value));
            return Ok(());
        }
        match self.vars.iter_mut().rev().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => return Err(self.error(span, format!("undefined variable: {name}"))),
        }
        Ok(())
    }

    /// The value of a pipeline; its variables are set.
    fn pipe(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, ExecError> {
        let value = self.pipe_value(pipe, dot)?;
        for name in &pipe.variables {
            self.set(name, value.clone(), pipe.assigns, pipe.span)?;
        }
        Ok(value)
    }

    fn pipe_value(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, ExecError> {
        self.deeper(pipe.span)?;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        self.depth -= 1;
        Ok(value.unwrap_or(Value::Nil))
    }

    /// `last` is what the command before the `|` gave: the last argument.
    fn command(
        &mut self,
        command: &'a Command,
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, ExecError> {
        self.step(command.span, 1)?;
        // The parser makes no command without operands.
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Nil) };
        let span = command.span;
        match &first.kind {
            OperandKind::Function(f) => self.call(f, rest, dot, last, span),
            OperandKind::Field(names) => {
                let args = self.arguments(rest, dot, last)?;
                self.fields(dot.clone(), names, &args, first.span)
            }
            OperandKind::Variable(name, names) if !names.is_empty() => {
                let receiver = self.variable(name, first.span)?;
                let args = self.arguments(rest, dot, last)?;
                self.fields(receiver, names, &args, first.span)
            }
            OperandKind::Chain(inner, names) => {
                let receiver = self.operand(inner, dot)?;
                let args = self.arguments(rest, dot, last)?;
                self.fields(receiver, names, &args, first.span)
            }
            _ if !rest.is_empty() || last.is_some() => {
                let text = self.source.excerpt(first.span);
                Err(self.error(first.span, format!("can't give argument to non-function {text}")))
            }
            OperandKind::Nil => Err(self.error(first.span, "nil is not a command")),
            _ => self.operand(first, dot),
        }
    }

    fn arguments(
        &mut self,
        operands: &'a [Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Vec<Value>, ExecError> {
        let mut args = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(last);
        Ok(args)
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, ExecError> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Constant(v) => Ok(v.clone()),
            OperandKind::Field(names) => self.fields(dot.clone(), names, &[], operand.span),
            OperandKind::Variable(name, names) => {
                let receiver = self.variable(name, operand.span)?;
                self.fields(receiver, names, &[], operand.span)
            }
            OperandKind::Function(f) => self.call(f, &[], dot, None, operand.span),
            OperandKind::Pipe(pipe) => self.pipe(pipe, dot),
            OperandKind::Chain(inner, names) => {
                let receiver = self.operand(inner, dot)?;
                self.fields(receiver, names, &[], operand.span)
            }
        }
    }

    fn variable(&self, name: &str, span: Span) -> Result<Value, ExecError> {
        let found = self.vars.iter().rev().find(|(n, _)| *n == name);
        found.map(|(_, v)| v.clone()).ok_or_else(|| self.error(span, format!("undefined variable: {name}")))
    }

    /// The fields one after the other; only the last takes the arguments.
    fn fields(
        &self,
        receiver: Value,
        names: &[Box<str>],
        args: &[Value],
        span: Span,
    ) -> Result<Value, ExecError> {
        let mut value = receiver;
        for (i, name) in names.iter().enumerate() {
            let args = if i + 1 == names.len() { args } else { &[] };
            let nil = matches!(value, Value::Nil);
            value = match field(&value, name, args) {
                Ok(value) => value,
                Err(FieldError::NoEntry) if self.env.missing_key == MissingKey::Error => {
                    let message = if nil {
                        format!("nil data; no entry for key {name:?}")
                    } else {
                        format!("map has no entry for key {name:?}")
                    };
                    return Err(self.error(span, message));
                }
                // Only the first step may be made from nothing, as in Go.
                Err(FieldError::NoEntry) if nil && i > 0 => {
                    return Err(self.error(span, format!("nil pointer evaluating interface {{}}.{name}")));
                }
                Err(FieldError::NoEntry) => Value::Nil,
                Err(FieldError::Other(message)) => return Err(self.error(span, message)),
            };
        }
        Ok(value)
    }

    fn call(
        &mut self,
        function: &'static Function,
        operands: &'a [Operand],
        dot: &Value,
        last: Option<Value>,
        span: Span,
    ) -> Result<Value, ExecError> {
        let count = operands.len() + usize::from(last.is_some());
        let (least, most) = function.arity;
        if count < least || count > most {
            let want = if most == usize::MAX { format!("at least {least}") } else { least.to_string() };
            let message = format!("wrong number of args for {}: want {want} got {count}", function.name);
            return Err(self.error(span, message));
        }
        let run = match function.run {
            Run::And | Run::Or => {
                let stops_at = matches!(function.run, Run::Or);
                let mut value = Value::Nil;
                for operand in operands {
                    value = self.operand(operand, dot)?;
                    if value.truth() == stops_at {
                        return Ok(value);
                    }
                }
                return Ok(last.unwrap_or(value));
            }
            Run::Template => {
                let args = self.arguments(operands, dot, last)?;
                return self.call_template(&args, span);
            }
            Run::Plain(run) => run,
        };
        let args = self.arguments(operands, dot, last)?;
        // What a function does grows with its lists and texts.
        let cost: usize = args
            .iter()
            .map(|a| match a {
                Value::List(l) => l.items.len(),
                Value::Map(m) => m.entries.len(),
                Value::Str(s) | Value::Safe(_, s) => s.len() / 64,
                _ => 0,
            })
            .sum();
        self.step(span, 1 + cost)?;
        let call = Call { args: &args, env: self.env, limit: self.limits.output };
        run(&call).map_err(|e| self.error(span, format!("error calling {}: {e}", function.name)))
    }

    /// `tmpl NAME DATA`: what the template writes, as a value.
    fn call_template(&mut self, args: &[Value], span: Span) -> Result<Value, ExecError> {
        let [name, dot] = args else { return Ok(Value::Nil) };
        let Some(name) = name.as_str() else {
            return Err(
                self.error(span, format!("wrong type for value; expected string; got {}", name.type_name()))
            );
        };
        let out = std::mem::replace(&mut self.out, Bounded::new(self.limits.output));
        let page = std::mem::replace(&mut self.page, (self.env.mode == Mode::Html).then(Page::default));
        self.template(name, dot.clone(), span)?;
        self.page = page;
        let written = std::mem::replace(&mut self.out, out);
        Ok(Value::Safe(SafeKind::Html, written.text.into()))
    }
}
