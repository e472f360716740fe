//! Conditions of charts, `spec.when`, in the Common Expression Language (CEL).
//!
//! The interpreter of the crate `cel` has no cost limit. This module therefore counts the
//! iterations of loops, and refuses operations in loops that could make values large or evaluation
//! slow.

use cel::common::ast::operators as operator;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use cel::objects::{Key, Map};
use cel::parser::PrattParser;
use cel::{Context, ExecutionError, IdedExpr, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tko_core::{Package, deployment_resource};

/// Maximum bytes of the source of one condition.
pub const MAX_CONDITION: usize = 4 << 10;
/// Maximum number of iterations of all loops of one condition together.
pub const ITERATIONS: u64 = 20_000;
const MAX_NESTING: u16 = 32;
const MAX_NODES: usize = 400;
/// Maximum nesting of loops.
const MAX_LOOPS: usize = 3;
/// The function that counts iterations. Sources cannot name it.
const COUNT: &str = "@iteration";

/// A condition over the resources of a package.
#[derive(Clone, Debug)]
pub struct ChartCondition(IdedExpr);

impl ChartCondition {
    /// Parses a condition.
    ///
    /// # Errors
    /// The reason why it was refused: it does not parse, or is too long, too deep or too costly.
    pub fn parse(source: &str) -> Result<Self, String> {
        if source.len() > MAX_CONDITION {
            return Err(format!("it is longer than {MAX_CONDITION} bytes"));
        }
        let parser = PrattParser::new()
            .max_recursion_depth(MAX_NESTING)
            .max_expression_node_count(MAX_NODES);
        let mut parsed = parser.parse(source).map_err(|errors| {
            let first = errors.errors.first();
            first.map_or_else(|| "it does not parse".to_owned(), |error| error.msg.clone())
        })?;
        bound(&mut parsed, &[])?;
        Ok(Self(parsed))
    }

    /// Evaluates the condition. Its variable `resources` lists the resources of the package without
    /// the Deployment resource of TKO.
    ///
    /// # Errors
    /// Why it failed: a field does not exist, a type is wrong, the result is not a boolean, or it
    /// takes too many iterations.
    pub fn holds(&self, package: &Package) -> Result<bool, String> {
        let own = deployment_resource::identifier();
        let resources = package.iter().filter(|r| *r.gvk() != own.gvk);
        let resources: Vec<Value> = resources.map(|r| to_cel(r.value())).collect();
        let mut context = Context::default();
        context.add_variable_from_value("resources", Value::List(Arc::new(resources)));
        let left = Arc::new(AtomicU64::new(ITERATIONS));
        let count = move |go_on: bool| -> Result<bool, ExecutionError> {
            let took =
                left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            match took {
                Ok(_) => Ok(go_on),
                Err(_) => Err(ExecutionError::function_error(
                    "loop",
                    format!("more than {ITERATIONS} iterations"),
                )),
            }
        };
        context
            .add_function(COUNT, count)
            .map_err(|error| error.to_string())?;
        match context.resolve(&self.0) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("it is neither true nor false".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Makes every loop count its iterations, and refuses operations that could be costly in a loop.
/// `loops` has the accumulators of the enclosing loops.
fn bound(expr: &mut IdedExpr, loops: &[String]) -> Result<(), String> {
    match &mut expr.expr {
        Expr::Call(call) => {
            check_call(call, loops)?;
            if let Some(target) = &mut call.target {
                bound(target, loops)?;
            }
            each(&mut call.args, loops)
        }
        Expr::Comprehension(comprehension) => bound_loop(comprehension, loops),
        Expr::List(list) => each(&mut list.elements, loops),
        Expr::Map(map) => entries(map.entries.iter_mut().map(|entry| &mut entry.expr), loops),
        Expr::Struct(made) => entries(made.entries.iter_mut().map(|entry| &mut entry.expr), loops),
        Expr::Select(select) => bound(&mut select.operand, loops),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Ok(()),
    }
}

fn each(parts: &mut [IdedExpr], loops: &[String]) -> Result<(), String> {
    parts.iter_mut().try_for_each(|part| bound(part, loops))
}

fn entries<'a>(
    parts: impl Iterator<Item = &'a mut EntryExpr>,
    loops: &[String],
) -> Result<(), String> {
    for entry in parts {
        match entry {
            EntryExpr::StructField(field) => bound(&mut field.value, loops)?,
            EntryExpr::MapEntry(entry) => {
                bound(&mut entry.key, loops)?;
                bound(&mut entry.value, loops)?;
            }
        }
    }
    Ok(())
}

fn bound_loop(comprehension: &mut ComprehensionExpr, loops: &[String]) -> Result<(), String> {
    if loops.len() >= MAX_LOOPS {
        return Err(format!(
            "it has more than {MAX_LOOPS} loops within one another"
        ));
    }
    bound(&mut comprehension.iter_range, loops)?;
    bound(&mut comprehension.accu_init, loops)?;
    let mut inside = loops.to_vec();
    inside.push(comprehension.accu_var.clone());
    bound(&mut comprehension.loop_cond, &inside)?;
    bound(&mut comprehension.loop_step, &inside)?;
    bound(&mut comprehension.result, &inside)?;
    // The interpreter ends a loop at once when this fails, but collects failures of other parts.
    let condition = std::mem::take(&mut comprehension.loop_cond);
    comprehension.loop_cond = IdedExpr {
        id: condition.id,
        expr: Expr::Call(CallExpr {
            func_name: COUNT.to_owned(),
            target: None,
            args: vec![condition],
        }),
    };
    Ok(())
}

fn check_call(call: &CallExpr, loops: &[String]) -> Result<(), String> {
    if loops.is_empty() {
        return Ok(());
    }
    match call.func_name.as_str() {
        operator::ADD => {
            // Macros such as filter append to their accumulator.
            let first = call.args.first().map(|argument| &argument.expr);
            match first {
                Some(Expr::Ident(name)) if loops.contains(name) => Ok(()),
                _ => Err("it adds within a loop, which conditions cannot do".to_owned()),
            }
        }
        "matches" => match call.args.last().map(|argument| &argument.expr) {
            Some(Expr::Literal(LiteralValue::String(pattern)))
                if !pattern.inner().contains(['{', '\\']) && pattern.inner().len() <= 64 =>
            {
                Ok(())
            }
            _ => Err(
                "within a loop, a pattern of matches() must be a text of at most 64 bytes without \
                 { and \\"
                    .to_owned(),
            ),
        },
        _ => Ok(()),
    }
}

/// Numbers without a fraction become ints if they fit, because people compare them with int
/// literals.
fn to_cel(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text.clone())),
        serde_json::Value::Array(items) => {
            Value::List(Arc::new(items.iter().map(to_cel).collect()))
        }
        serde_json::Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, item)| (Key::String(Arc::new(key.clone())), to_cel(item)));
            Value::Map(Map {
                map: Arc::new(entries.collect::<HashMap<_, _>>()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ChartCondition;
    use serde_json::json;
    use tko_core::Package;

    fn holds(source: &str) -> Result<bool, String> {
        let maps = (0..500).map(|n| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("m{n}"), "labels": {"tier": "edge"}},
                "data": {"n": n},
            })
        });
        let package = Package::from_values(maps).expect("a package");
        ChartCondition::parse(source)?.holds(&package)
    }

    #[test]
    fn conditions_see_the_resources() {
        for (source, expected) in [
            ("true", true),
            ("size(resources) == 500", true),
            (
                "resources.exists(r, r.kind == 'ConfigMap' && r.metadata.name == 'm499')",
                true,
            ),
            ("resources.exists(r, r.kind == 'Namespace')", false),
            (
                "resources.all(r, r.metadata.labels.exists(l, l == 'tier'))",
                true,
            ),
            ("resources.filter(r, r.data.n > 497).size() == 2", true),
            ("resources.map(r, r.data.n)[3] == 3", true),
            ("resources[0].metadata.name.matches('^m[0-9]+$')", true),
            ("resources.exists(r, has(r.spec) && r.spec.on)", false),
        ] {
            assert_eq!(holds(source), Ok(expected), "{source}");
        }
    }

    #[test]
    fn faulty_and_costly_conditions_are_refused() {
        for (source, words) in [
            ("", ""),
            ("resources.", ""),
            ("1", "neither true nor false"),
            ("resources[0].spec.on", "spec"),
            (
                "resources.all(a, resources.all(b, a == b || true))",
                "iterations",
            ),
            (
                "resources.all(a, resources.all(b, resources.all(c, true)))",
                "iterations",
            ),
            (
                "resources.all(a, a.all(b, a.all(c, a.all(d, true))))",
                "loops within",
            ),
            (
                "resources.map(r, r.kind + r.kind).size() > 0",
                "adds within a loop",
            ),
            (
                "resources.all(r, r.kind.matches('(a{1000}){1000}'))",
                "matches",
            ),
        ] {
            let error = holds(source).expect_err(source);
            assert!(error.contains(words), "{source}: {error}");
        }
        assert!(holds(&"(".repeat(4_000)).is_err());
        assert!(holds(&format!("true{}", " && true".repeat(2_000))).is_err());
    }
}
