//! What the columns of a classifier are called.

use trimloop_core::plan::Step;

/// Names of all columns, `[q]`: the inputs, then what each step makes of columns before it.
pub(super) fn names(inputs: &[String], steps: &[Step]) -> Vec<String> {
    let mut names = inputs.to_vec();
    for step in steps {
        let (a, b) = step.operands();
        let name = |place: u16| names.get(usize::from(place)).map_or("", String::as_str);
        let (a, b) = (name(a), name(b));
        let made = match step {
            Step::Difference(..) => format!("{a} - {b}"),
            Step::Product(..) => format!("{a} * {b}"),
            Step::Ratio(..) => format!("{a} / {b}"),
            Step::Mean { .. } => format!("mean of {a}"),
            Step::Deviation { .. } => format!("deviation of {a}"),
            Step::Successive { .. } => format!("roughness of {a}"),
        };
        names.push(made);
    }
    names
}
