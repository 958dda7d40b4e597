//! What an aggregate function is made of, and how DataFusion sees it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err, resources_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Coercion, Documentation, GroupsAccumulator, Signature, TypeSignature, Volatility,
};

use super::SECTION;
use super::arguments::{Constants, Parameter, coerce, syntax};

/// Makes something for one call.
pub(super) type Make<T> = fn(&Call) -> T;

/// An aggregate function: its name, what it takes and gives, and how it adds up.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) parameters: &'static [Parameter],
    pub(super) about: &'static str,
    pub(super) example: &'static str,
    /// Type of the result, from those of the arguments.
    pub(super) returns: fn(&[DataType]) -> DataType,
    /// Types of what partial results are handed on as.
    pub(super) state: fn(&[DataType]) -> Vec<DataType>,
    pub(super) accumulator: Make<Result<Box<dyn Accumulator>>>,
    /// One that can take values out again, for frames of rows that move.
    pub(super) sliding: Option<Make<Result<Box<dyn Accumulator>>>>,
    /// One for many groups at once; `None` where the types do not fit it.
    pub(super) groups: Option<Make<Option<Box<dyn GroupsAccumulator>>>>,
}

/// One call of an aggregate function.
pub(super) struct Call<'a> {
    pub(super) types: Vec<DataType>,
    pub(super) returns: DataType,
    pub(super) constants: Constants<'a>,
}

/// An aggregate function as DataFusion knows it.
#[derive(Debug)]
pub(super) struct Aggregate {
    definition: &'static Definition,
    aliases: Vec<String>,
    signature: Signature,
    documentation: Documentation,
}

impl Aggregate {
    pub(super) fn new(definition: &'static Definition) -> Self {
        Self {
            definition,
            aliases: definition.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            signature: signature(definition.parameters),
            documentation: documentation(
                definition.name,
                definition.about,
                definition.example,
                definition.parameters,
                "",
            ),
        }
    }

    fn call<'a>(&self, args: &'a AccumulatorArgs<'_>) -> Result<Call<'a>> {
        let Definition { name, parameters, .. } = *self.definition;
        if args.is_distinct {
            return plan_err!("{name} takes no DISTINCT");
        }
        Ok(Call {
            types: args.expr_fields.iter().map(|field| field.data_type().clone()).collect(),
            returns: args.return_field.data_type().clone(),
            constants: Constants { name, parameters, expressions: args.exprs },
        })
    }
}

/// A signature whose types the function itself checks, so that its errors say what it takes. The second alternative never
/// decides anything: it is there for SHOW FUNCTIONS, which leaves out functions without types.
pub(super) fn signature(parameters: &[Parameter]) -> Signature {
    let shown = parameters.iter().map(|parameter| Coercion::new_exact(parameter.kind.shown())).collect();
    let alternatives = vec![TypeSignature::UserDefined, TypeSignature::Coercible(shown)];
    let names = parameters.iter().map(|parameter| parameter.name.to_owned()).collect();
    let mut signature = Signature::one_of(alternatives, Volatility::Immutable);
    signature.parameter_names = Some(names);
    signature
}

/// What SHOW FUNCTIONS tells; `after` follows the closing parenthesis of a call.
pub(super) fn documentation(
    name: &str,
    about: &str,
    example: &str,
    parameters: &[Parameter],
    after: &str,
) -> Documentation {
    let mut builder = Documentation::builder(SECTION, about, syntax(name, parameters) + after)
        .with_sql_example(format!("```sql\n{example}\n```"));
    for parameter in parameters {
        builder = builder.with_argument(parameter.name, parameter.about);
    }
    builder.build()
}

// There is one function of a name, and it has nothing to be set.
impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        coerce(self.definition.name, self.definition.parameters, arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok((self.definition.returns)(arg_types))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let types: Vec<DataType> = args.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let states = (self.definition.state)(&types).into_iter().enumerate();
        let field = |(n, data_type)| {
            let name = format_state_name(args.name, &format!("state_{n}"));
            Arc::new(Field::new(name, data_type, true))
        };
        Ok(states.map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        (self.definition.accumulator)(&self.call(&args)?)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let call = self.call(&args)?;
        match self.definition.sliding {
            Some(sliding) => sliding(&call),
            None => plan_err!(
                "{} cannot be asked over a frame of rows that begins elsewhere than at UNBOUNDED PRECEDING",
                self.definition.name
            ),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        let Some(groups) = self.definition.groups else { return false };
        self.call(&args).is_ok_and(|call| groups(&call).is_some())
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let call = self.call(&args)?;
        match self.definition.groups.and_then(|groups| groups(&call)) {
            Some(accumulator) => Ok(accumulator),
            None => internal_err!("{} has no accumulator for groups of these types", self.definition.name),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The type of a list in a state or result.
pub(super) fn list_of(items: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(items, true)))
}

/// One list that holds all of `items`.
pub(super) fn list(items: ArrayRef) -> Result<ScalarValue> {
    if i32::try_from(items.len()).is_err() {
        return resources_err!("a group has more than 2^31 values");
    }
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, items, None)?)))
}

/// The items of each list in a column of states.
pub(super) fn lists(states: &ArrayRef) -> impl Iterator<Item = ArrayRef> + '_ {
    states.as_list::<i32>().iter().flatten()
}
