//! Methods of text.

use super::calls::number;
use super::evaluate::Evaluation;
use super::fault::RuleFault;
use super::value::Val;

/// Calls a method of text; `None` if there is no such method.
pub(super) fn method<'a>(
    evaluation: &mut Evaluation<'a>,
    name: &str,
    own: &str,
    arguments: &[Val<'a>],
) -> Result<Option<Val<'a>>, RuleFault> {
    Ok(Some(match (name, arguments) {
        ("startsWith", [Val::Text(other)]) => Val::Bool(own.starts_with(other.as_ref())),
        ("endsWith", [Val::Text(other)]) => Val::Bool(own.ends_with(other.as_ref())),
        ("contains", [Val::Text(other)]) => Val::Bool(own.contains(other.as_ref())),
        ("lowerAscii", []) => Val::text(own.to_ascii_lowercase()),
        ("upperAscii", []) => Val::text(own.to_ascii_uppercase()),
        ("trim", []) => Val::text(own.trim()),
        ("reverse", []) => Val::text(own.chars().rev().collect::<String>()),
        ("charAt", [Val::Int(index)]) => {
            let characters: Vec<char> = own.chars().collect();
            match usize::try_from(*index) {
                Ok(index) if index < characters.len() => Val::text(characters[index].to_string()),
                Ok(index) if index == characters.len() => Val::text(""),
                _ => return Err(RuleFault::Failed(format!("index {index} is out of range"))),
            }
        }
        ("indexOf" | "lastIndexOf", [Val::Text(other)]) => {
            let found = if name == "indexOf" {
                own.find(other.as_ref())
            } else {
                own.rfind(other.as_ref())
            };
            number(found.map(|at| own[..at].chars().count()))
        }
        ("indexOf", [Val::Text(other), Val::Int(from)]) => {
            let from = usize::try_from(*from).unwrap_or_default();
            let start = own.char_indices().nth(from).map_or(own.len(), |(at, _)| at);
            let found = own[start..].find(other.as_ref());
            number(found.map(|at| own[..start + at].chars().count()))
        }
        ("substring", [Val::Int(from)]) => cut(own, *from, i64::MAX)?,
        ("substring", [Val::Int(from), Val::Int(to)]) => cut(own, *from, *to)?,
        ("replace", [Val::Text(from), Val::Text(to), limit @ ..]) => {
            let limit = match limit {
                [Val::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let matches = own.matches(from.as_ref()).count().min(limit);
            evaluation.pay((matches as u64).saturating_mul(to.len() as u64) / 10)?;
            Val::text(own.replacen(from.as_ref(), to, limit))
        }
        ("split", [Val::Text(separator), limit @ ..]) => {
            let limit = match limit {
                [Val::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            evaluation.pay(own.len() as u64)?;
            let parts: Vec<Val<'a>> = if separator.is_empty() {
                let characters = own.chars().take(limit);
                characters.map(|one| Val::text(one.to_string())).collect()
            } else {
                own.splitn(limit, separator.as_ref())
                    .map(Val::text)
                    .collect()
            };
            Val::list(parts)
        }
        _ => return Ok(None),
    }))
}

/// Returns the characters from one index up to another.
fn cut<'a>(own: &str, from: i64, to: i64) -> Result<Val<'a>, RuleFault> {
    let length = own.chars().count();
    let to = if to == i64::MAX {
        length
    } else {
        usize::try_from(to).unwrap_or(usize::MAX)
    };
    match usize::try_from(from) {
        Ok(from) if from <= to && to <= length => Ok(Val::text(
            own.chars().skip(from).take(to - from).collect::<String>(),
        )),
        _ => Err(RuleFault::Failed(format!(
            "substring from {from} is out of range"
        ))),
    }
}
