//! The parameters of a statement, and whether a query has a value for each of them.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::{Query, QueryError};

/// Refuses values of parameters that the statement does not have, and parameters without a value.
pub(crate) fn check_parameters(plan: &LogicalPlan, query: &Query) -> Result<(), QueryError> {
    let (needed, given) = (parameters_of(plan)?, query.parameters.names());
    // What the answer does not need, such as a table of `WITH`, is not in the plan.
    let named: BTreeSet<_> = needed.iter().cloned().chain(placeholders(&query.sql)).collect();
    if let Some(name) = given.iter().find(|name| !named.contains(*name)) {
        let named =
            if named.is_empty() { "none".to_owned() } else { Vec::from_iter(named).join(", ") };
        let reason = format!("there is a value for `{name}`; the parameters of the query: {named}");
        return Err(QueryError::Failed(reason));
    }
    match needed.iter().find(|name| !given.contains(*name)) {
        Some(name) => Err(QueryError::Failed(format!("the parameter `{name}` has no value"))),
        None => Ok(()),
    }
}

/// Returns the parameters in the text of a statement.
fn placeholders(sql: &str) -> impl Iterator<Item = String> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default();
    tokens.into_iter().filter_map(|token| match token {
        Token::Placeholder(name) => Some(name),
        _ => None,
    })
}

/// Returns the names of the parameters of a plan, such as `$1`.
fn parameters_of(plan: &LogicalPlan) -> Result<BTreeSet<String>, QueryError> {
    let names = plan.get_parameter_names()?.into_iter();
    Ok(names.chain(of_limits(plan)?).collect())
}

/// Returns the parameters of `LIMIT` and `OFFSET`, whose types the plan does not have.
pub(crate) fn of_limits(plan: &LogicalPlan) -> Result<Vec<String>, QueryError> {
    let mut names = Vec::new();
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::Limit(limit) = plan {
            for bound in limit.skip.iter().chain(&limit.fetch) {
                // The planner converts it to a number.
                bound.apply(|part| {
                    if let Expr::Placeholder(placeholder) = part {
                        names.push(placeholder.id.clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(names)
}
