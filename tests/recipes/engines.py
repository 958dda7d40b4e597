"""Runs the code of the document, as it stands there, in a folder where `.stepwell` is a store."""

import ast

import duckdb
import polars

import document


class DuckDb:
    def __init__(self):
        # Extensions that are not in the package would have to be downloaded: no recipe may need one.
        config = {"autoinstall_known_extensions": False, "autoload_known_extensions": False, "threads": 2}
        self.connection = duckdb.connect(config=config)
        self.ask(document.prelude("duckdb"))

    def ask(self, code: str) -> list[tuple]:
        """Rows of the last statement."""
        return self.connection.execute(code).fetchall()


class Polars:
    def __init__(self):
        self.names = {}
        self.ask(document.prelude("polars"))

    def ask(self, code: str) -> list[tuple]:
        """Rows of the frame that the last line stands for; what it defines is forgotten, but for that of the prelude."""
        tree = ast.parse(code)
        names = dict(self.names) if self.names else self.names
        last = tree.body[-1]
        if not isinstance(last, ast.Expr):
            exec(compile(tree, "RECIPES.md", "exec"), names)
            return []
        tree.body.pop()
        exec(compile(tree, "RECIPES.md", "exec"), names)
        frame = eval(compile(ast.Expression(last.value), "RECIPES.md", "eval"), names)
        assert isinstance(frame, polars.DataFrame), type(frame)
        return frame.rows()


ENGINES = {"duckdb": DuckDb, "polars": Polars}
