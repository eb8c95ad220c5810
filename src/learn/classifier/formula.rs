//! Derived columns by hand: `power = torque * speed`.

use trimloop_core::plan::Step;

use crate::learn::LearnError;

/// Name and step of a formula over two inputs.
///
/// A name that is left out, `torque * speed`, is the formula itself.
///
/// # Errors
/// [`LearnError::Option`] for what is no such formula, [`LearnError::Columns`] for names that are
/// no inputs.
pub(super) fn parse(text: &str, inputs: &[String]) -> Result<(String, Step), LearnError> {
    let wrong = |why: &str| LearnError::Option(format!("--feature '{text}': {why}"));
    let (name, formula) = match text.split_once('=') {
        Some((name, formula)) => (Some(name.trim()), formula.trim()),
        None => (None, text.trim()),
    };
    if name.is_some_and(|name| name.is_empty() || inputs.iter().any(|input| input == name)) {
        return Err(wrong("the name before = must be there, and not be that of a column"));
    }
    // Names may hold blanks and signs; a sign of the formula stands between blanks, or parts two
    // names that are there.
    let mut known = Vec::new();
    for (at, sign) in formula.char_indices().filter(|(_, sign)| "-*/".contains(*sign)) {
        let (a, b) = (formula[..at].trim(), formula[at + sign.len_utf8()..].trim());
        let place = |name: &str| inputs.iter().position(|input| input == name);
        if let (Some(a), Some(b)) = (place(a), place(b)) {
            known.push((a, sign, b));
        }
    }
    let [(a, sign, b)] = known.as_slice() else {
        let parts: Vec<&str> = formula.split(['-', '*', '/']).map(str::trim).collect();
        if let [a, b] = parts.as_slice() {
            let missing = [a, b].into_iter().filter(|name| !inputs.iter().any(|i| i == *name));
            let missing = missing.map(|name| (*name).to_owned()).collect();
            return Err(LearnError::Columns { missing, known: inputs.to_vec() });
        }
        return Err(wrong("write two columns with -, * or / between them"));
    };
    let small = |place: &usize| u16::try_from(*place).unwrap_or(u16::MAX);
    let step = match sign {
        '-' => Step::Difference(small(a), small(b)),
        '*' => Step::Product(small(a), small(b)),
        _ => Step::Ratio(small(a), small(b)),
    };
    Ok((name.unwrap_or(formula).to_owned(), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formulas over two columns; names may hold the signs of formulas.
    #[test]
    fn formulas() {
        let inputs: Vec<String> =
            ["torque", "speed", "T-1", "T"].iter().map(|x| (*x).to_owned()).collect();
        let of = |text: &str| parse(text, &inputs);
        assert_eq!(
            of("power = torque * speed").unwrap(),
            ("power".to_owned(), Step::Product(0, 1))
        );
        assert_eq!(of("torque/speed").unwrap(), ("torque/speed".to_owned(), Step::Ratio(0, 1)));
        assert_eq!(of("d=T-1 - T").unwrap(), ("d".to_owned(), Step::Difference(2, 3)));
        for (text, part) in [
            ("power = torque", "two columns"),
            ("torque = speed * T", "not be that of a column"),
            ("x = torque * sped", "no column sped"),
            ("x = torque * speed * T", "two columns"),
            ("= torque * speed", "must be there"),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
