//! What a query may do: read, and nothing else.
//!
//! The kind of statement is checked before anything is planned, so that a statement that writes is never even looked
//! at closely; the plan is checked again, because SQL can hide a write inside a query (`SELECT ... INTO`).

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Statement as SqlStatement, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Error, Result, from_datafusion};
use crate::sql_catalog::{CATALOG, SCHEMA, table_names};
use crate::suggest::nearest;
use crate::table_functions;

const INFORMATION_SCHEMA: &str = "information_schema";

/// Most operators that nest to the left in one statement (`a + b + c`, `x OR y OR z`): each is one more level that
/// parsing and planning recurse into, and a stack that overflows ends the process.
const CHAIN_MAX: usize = 1000;

/// Counts the operators that nest to the left. Text that is no SQL counts as none: the parser tells what is wrong.
fn chained_operators(text: &str) -> usize {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    let chains = |token: &&Token| match token {
        Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::DoubleColon => true,
        Token::Word(word) => {
            matches!(word.keyword, Keyword::AND | Keyword::OR | Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT)
        }
        _ => false,
    };
    tokens.iter().filter(chains).count()
}

/// Parses the one statement of `text` and checks that it only reads.
pub(crate) fn parse(text: &str) -> Result<Statement> {
    let operators = chained_operators(text);
    if operators > CHAIN_MAX {
        return Err(Error::TooDeep { operators, operators_max: CHAIN_MAX });
    }
    // No memory is used yet that a limit could be exceeded by.
    let mut statements = DFParser::parse_sql(text).map_err(|error| from_datafusion(error, 0))?;
    let count = statements.len();
    let Some(statement) = statements.pop_front() else { return Err(Error::Empty) };
    if count > 1 {
        return Err(Error::ManyStatements { count });
    }
    check_statement(&statement)?;
    Ok(statement)
}

fn check_statement(statement: &Statement) -> Result<()> {
    let reads = match statement {
        Statement::Statement(statement) => only_reads(statement),
        Statement::Explain(explain) => return check_statement(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    };
    if reads { Ok(()) } else { Err(Error::NotReadOnly { statement: first_word(&statement.to_string()) }) }
}

fn only_reads(statement: &SqlStatement) -> bool {
    match statement {
        SqlStatement::Explain { statement, .. } => only_reads(statement),
        SqlStatement::Query(_)
        | SqlStatement::ExplainTable { .. }
        | SqlStatement::ShowTables { .. }
        | SqlStatement::ShowColumns { .. }
        | SqlStatement::ShowFunctions { .. }
        | SqlStatement::ShowVariable { .. } => true,
        _ => false,
    }
}

fn first_word(statement: &str) -> String {
    statement.split_whitespace().next().unwrap_or("this statement").to_uppercase()
}

/// Checks that the tables of `statement` exist; `is_function` tells the names of functions that stand for a table.
pub(crate) fn check_tables(statement: &Statement, is_function: impl Fn(&str) -> bool) -> Result<()> {
    let (tables, queries) = resolve_table_references(statement, true).map_err(|error| from_datafusion(error, 0))?;
    let names = table_names();
    for table in tables {
        if !exists(&table, &names) && !is_function(table.table()) {
            let functions: Vec<&str> = table_functions::names().collect();
            let candidates = names.iter().map(String::as_str).chain(functions.iter().copied());
            let suggestion = nearest(table.table(), candidates);
            return Err(Error::UnknownTable { name: table.to_string(), suggestion, tables: names });
        }
    }
    match uncalled_function(statement) {
        // A query of WITH may have the name of a function.
        Some((name, usage)) if queries.iter().all(|query| query.table() != name) => {
            Err(Error::Planning { message: format!("{name} is a function; write {usage}"), position: None })
        }
        _ => Ok(()),
    }
}

/// Name and usage of a function that `statement` names like a table, without arguments.
fn uncalled_function(statement: &Statement) -> Option<(&'static str, &'static str)> {
    struct Uncalled;
    impl Visitor for Uncalled {
        type Break = (&'static str, &'static str);

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
            let TableFactor::Table { name, args: None, .. } = factor else { return ControlFlow::Continue(()) };
            match table_functions::called_as(&name.to_string().to_lowercase()) {
                Some(function) => ControlFlow::Break(function),
                None => ControlFlow::Continue(()),
            }
        }
    }
    match statement {
        Statement::Statement(statement) => statement.visit(&mut Uncalled).break_value(),
        Statement::Explain(explain) => uncalled_function(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => None,
    }
}

fn exists(table: &TableReference, names: &[String]) -> bool {
    let catalog_fits = table.catalog().is_none_or(|catalog| catalog == CATALOG);
    let schema = table.schema().unwrap_or(SCHEMA);
    // Its tables are DataFusion's own; a wrong name there is told by the planner.
    catalog_fits && (schema == INFORMATION_SCHEMA || schema == SCHEMA && names.iter().any(|name| name == table.table()))
}

/// Checks that no part of `plan` writes.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    plan.apply_with_subqueries(|node| {
        Ok(match node {
            LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
                refused = Some(first_word(&node.display().to_string()));
                TreeNodeRecursion::Stop
            }
            _ => TreeNodeRecursion::Continue,
        })
    })
    .map_err(|error| from_datafusion(error, 0))?;
    match refused {
        Some(statement) => Err(Error::NotReadOnly { statement: statement.trim_end_matches(':').to_owned() }),
        None => Ok(()),
    }
}
