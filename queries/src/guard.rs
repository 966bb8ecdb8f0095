//! Guards queries: one statement, read-only, of limited size.
//!
//! The planner recurses: a long chain of operators would overflow its stack before a limit of time or
//! memory applies. So the size of the text is checked before it is parsed.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable as _, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::QueryError;

const MAX_BYTES: usize = 64 * 1024;
const MAX_TOKENS: usize = 5_000;
const MAX_OPERATORS: usize = 150;
/// Square brackets within each other. The parser's time is exponential in their number.
const MAX_DEPTH: usize = 8;

/// Returns options that allow only statements that read.
pub(crate) fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// Refuses statements that do more than read.
pub(crate) fn check_reads(statement: &Statement) -> Result<(), QueryError> {
    let reads = match statement {
        Statement::Explain(_) => true,
        Statement::Statement(statement) => {
            matches!(
                **statement,
                SqlStatement::Query(_)
                    | SqlStatement::Explain { .. }
                    | SqlStatement::ExplainTable { .. }
            ) || statement.to_string().starts_with("SHOW")
        }
        _ => false,
    };
    let refusal = "queries are read-only: expected SELECT, WITH, EXPLAIN, SHOW or DESCRIBE";
    if reads { Ok(()) } else { Err(QueryError::Refused(refusal.to_owned())) }
}

/// Refuses casts of text to lists, which would be lists of the whole text.
pub(crate) fn check_casts(plan: &LogicalPlan) -> Result<(), QueryError> {
    let mut refused = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|part| {
                refused |= matches!(part, Expr::Cast(cast) if is_text_to_list(cast, plan));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if !refused {
        return Ok(());
    }
    let reason =
        "text cannot be cast to a list: write ARRAY['a', 'b'] or string_to_array(text, ',')";
    Err(QueryError::Failed(reason.to_owned()))
}

fn is_text_to_list(cast: &Cast, plan: &LogicalPlan) -> bool {
    let is_list = matches!(cast.field.data_type(), DataType::List(_));
    is_list
        && plan
            .inputs()
            .iter()
            .map(|input| input.schema())
            .chain([plan.schema()])
            .any(|schema| cast.expr.get_type(schema).is_ok_and(|of_value| of_value.is_string()))
}

/// Refuses a text that is too large to plan.
pub(crate) fn check_size(sql: &str) -> Result<(), QueryError> {
    let refuse = |what: &str, limit: usize| {
        Err(QueryError::Refused(format!("the query has more than {limit} {what}")))
    };
    if sql.len() > MAX_BYTES {
        return refuse("bytes", MAX_BYTES);
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize()
        .map_err(|error| QueryError::Refused(format!("syntax error: {error}")))?;
    if tokens.len() > MAX_TOKENS {
        return refuse("tokens", MAX_TOKENS);
    }
    if tokens.iter().filter(|token| chains(token)).count() > MAX_OPERATORS {
        return refuse("operators", MAX_OPERATORS);
    }
    if depth(&tokens) > MAX_DEPTH {
        return refuse("square brackets within each other", MAX_DEPTH);
    }
    Ok(())
}

/// Returns how many square brackets are open at most.
fn depth(tokens: &[Token]) -> usize {
    let depths = tokens.iter().scan(0_usize, |depth, token| {
        match token {
            Token::LBracket => *depth += 1,
            Token::RBracket => *depth = depth.saturating_sub(1),
            _ => {}
        }
        Some(*depth)
    });
    depths.max().unwrap_or(0)
}

/// Returns true for a token that can make an expression or a union deeper.
fn chains(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            matches!(
                word.keyword,
                Keyword::AND
                    | Keyword::OR
                    | Keyword::NOT
                    | Keyword::UNION
                    | Keyword::EXCEPT
                    | Keyword::INTERSECT
                    | Keyword::JOIN
                    | Keyword::CASE
                    | Keyword::LIKE
                    | Keyword::IS
            )
        }
        Token::Whitespace(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::Period
        | Token::RParen
        | Token::RBracket
        | Token::SemiColon
        | Token::EOF => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_would_overflow_the_planner() {
        for (name, sql, fits) in [
            ("short", "SELECT zone, count(*) FROM persons GROUP BY zone".to_owned(), true),
            ("long sum", format!("SELECT 1{}", "+1".repeat(200)), false),
            ("long or", format!("SELECT 1 WHERE {} true", "true OR ".repeat(200)), false),
            ("deep arrays", format!("SELECT {}1 1{}", "ARRAY[".repeat(9), "]".repeat(9)), false),
            ("arrays", "SELECT ARRAY[ARRAY[1, 2], ARRAY[3]]".to_owned(), true),
            ("many unions", vec!["SELECT 1"; 200].join(" UNION ALL "), false),
            ("deep parentheses", format!("SELECT {}1{}", "(".repeat(200), ")".repeat(200)), false),
            ("long list", format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 1000].join(",")), true),
            (
                "too many tokens",
                format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 5000].join(",")),
                false,
            ),
            ("too many bytes", format!("SELECT '{}'", "a".repeat(MAX_BYTES)), false),
            ("no sql", "SELECT 'open".to_owned(), false),
        ] {
            assert_eq!(check_size(&sql).is_ok(), fits, "{name}");
        }
    }
}
