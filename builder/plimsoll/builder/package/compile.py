"""From a configuration to the exact scripts of one architecture.

Everything that a build would only find out while it runs is found out here: unknown variables,
missing inputs, pipelines that do not exist, conditions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from plimsoll.builder.package import inputs, targets
from plimsoll.builder.package.condition import evaluate
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.load import with_defaults
from plimsoll.builder.package.packagemodel import check_name
from plimsoll.builder.package.scope import Scope, at, replaced, used_at, within
from plimsoll.builder.package.script import Script
from plimsoll.builder.package.stepmodel import Assertions, Needs, Step
from plimsoll.builder.package.substitute import replace_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plimsoll.api.gitsource import VerifiedSigner
    from plimsoll.api.image import ImageConfiguration
    from plimsoll.arch import Arch
    from plimsoll.builder.package.library import Library, Pipeline
    from plimsoll.builder.package.load import Loaded
    from plimsoll.builder.package.model import PackageConfiguration, Subpackage, Test
    from plimsoll.yaml12 import Document, Path

MAX_DEPTH = 32
MAX_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Source:
    """Something that a build fetches.

    Attributes:
        uses: ``fetch`` or ``git-checkout``.
        inputs: all inputs with their values.
        signer: who signed it, where that was required.
    """

    uses: str
    inputs: Mapping[str, str]
    signer: VerifiedSigner | None = None


@dataclass(frozen=True, slots=True)
class CompiledTest:
    """A test with everything that runs it."""

    environment: ImageConfiguration
    scripts: tuple[Script, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A configuration compiled for one architecture.

    Attributes:
        config: every variable replaced, pipelines put in for their names, what a condition
            excludes left out.
        arch: the architecture.
        scripts: name of the package or subpackage → its scripts, in the order in which they run.
        tests: name of the package or subpackage → its test.
        sources: what is fetched, in order.
    """

    config: PackageConfiguration
    arch: Arch
    scripts: Mapping[str, tuple[Script, ...]]
    tests: Mapping[str, CompiledTest]
    sources: tuple[Source, ...]

    @property
    def guest(self) -> ImageConfiguration:
        """The guest that the steps run in, what pipelines need included."""
        return self.config.environment


def compile_package(
    loaded: Loaded,
    library: Library,
    arch: Arch,
    *,
    options: Iterable[str] = (),
    libc: str = "gnu",
) -> Compiled:
    """Compile a configuration.

    Args:
        loaded: the configuration.
        library: pipelines.
        arch: architecture.
        options: build options that are turned on; the same as given to ``load_file``.
        libc: ``gnu`` or ``musl``.

    Raises:
        PackageConfigError: with file, line and column.
    """
    config = loaded.config
    chosen = set(options)
    known = {
        **loaded.variables,
        **targets.arch_variables(arch, libc),
        **targets.directory_variables(config),
        **{f"options.{n}.enabled": "true" if n in chosen else "false" for n in config.options},
    }
    compiler = _Compiler(loaded.document, library)
    return compiler.package(config, arch, known)


@dataclass(slots=True)
class _Result:
    """What compiling steps brings to light."""

    scripts: list[Script] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)


class _Compiler:
    def __init__(self, document: Document, library: Library) -> None:
        self._document = document
        self._library = library
        self._steps = 0

    def package(
        self, config: PackageConfiguration, arch: Arch, known: Mapping[str, str]
    ) -> Compiled:
        name = config.package.name
        main = {**known, **targets.context_variables(name, subpackage=False)}
        scope = Scope(self._document, main)
        result = _Result()
        steps = self.steps(config.pipeline, ("pipeline",), scope, result)
        scripts = {name: tuple(result.scripts)}
        tests: dict[str, CompiledTest] = {}
        test = self._test(config.test, ("test",), scope, name, tests)
        subpackages = []
        for number, subpackage in enumerate(config.subpackages):
            path = ("subpackages", number)
            done = self._subpackage(subpackage, path, known, (scripts, tests), result)
            if done is not None:
                subpackages.append(done)
        with at(self._document, ("environment",)):
            environment = _with_packages(
                replaced(config.environment, scope), dict.fromkeys(result.needs)
            )
        update = {"environment": environment, "pipeline": steps, "subpackages": subpackages}
        update |= {"test": test, "data": [], "var_transforms": []}
        compiled = config.model_copy(update=update)
        with at(self._document, ("package",)):
            compiled = compiled.model_copy(update={"package": replaced(config.package, scope)})
        return Compiled(compiled, arch, scripts, tests, tuple(result.sources))

    def _subpackage(
        self,
        subpackage: Subpackage,
        path: Path,
        known: Mapping[str, str],
        found: tuple[dict[str, tuple[Script, ...]], dict[str, CompiledTest]],
        result: _Result,
    ) -> Subpackage | None:
        document = self._document
        scripts, tests = found
        with at(document, (*path, "name")):
            name = replace_all(subpackage.name, Scope(document, known).lookup)
            try:
                check_name(name)
            except ValueError as error:
                raise PackageConfigError(str(error)) from None
        scope = Scope(document, {**known, **targets.context_variables(name, subpackage=True)})
        with at(document, (*path, "if")):
            if not evaluate(subpackage.if_, scope.lookup):
                return None
        if name in scripts:
            raise PackageConfigError(
                f"{document.place((*path, 'name'))}: two packages of this architecture are "
                f"called {name!r}",
                hint="their conditions must not hold together",
            )
        below = _Result(needs=result.needs, sources=result.sources)
        steps = self.steps(subpackage.pipeline, (*path, "pipeline"), scope, below)
        scripts[name] = tuple(below.scripts)
        test = self._test(subpackage.test, (*path, "test"), scope, name, tests)
        with at(document, path):
            plain = subpackage.model_copy(update={"pipeline": [], "test": None, "if_": ""})
            return replaced(plain, scope).model_copy(update={"pipeline": steps, "test": test})

    def _test(
        self,
        test: Test | None,
        path: Path,
        scope: Scope,
        name: str,
        tests: dict[str, CompiledTest],
    ) -> Test | None:
        if test is None:
            return None
        result = _Result()
        steps = self.steps(test.pipeline, (*path, "pipeline"), scope, result)
        with at(self._document, (*path, "environment")):
            environment = _with_packages(
                replaced(test.environment, scope), dict.fromkeys(result.needs)
            )
        tests[name] = CompiledTest(with_defaults(environment), tuple(result.scripts))
        return test.model_copy(update={"environment": environment, "pipeline": steps})

    def steps(self, steps: Sequence[Step], path: Path, scope: Scope, result: _Result) -> list[Step]:
        """Compile steps; those whose condition does not hold are left out."""
        compiled = [
            self._step(step, (*path, number), scope, result) for number, step in enumerate(steps)
        ]
        return [step for step in compiled if step is not None]

    def _step(self, step: Step, path: Path, scope: Scope, result: _Result) -> Step | None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise PackageConfigError(
                f"{scope.document.place(path)}: more than {MAX_STEPS} steps",
                hint="pipelines that use pipelines multiply quickly",
            )
        with at(scope.document, path, "if"):
            if not evaluate(step.if_, scope.lookup):
                return None
        with at(scope.document, path):
            scope = within(step, scope)
        if step.uses:
            return self._use(step, path, scope, result)
        with at(scope.document, path):
            result.needs += [scope.text(item) for item in step.needs.packages]
            text = scope.text(step.runs)
        names = [item for item in (scope.name, step.name) if item]
        if text.strip():
            result.scripts.append(
                Script(
                    name=": ".join(names) or _first_line(text),
                    text=text,
                    working_directory=scope.directory,
                    environment=dict(scope.environment),
                    network=scope.fetches,
                    label=step.label,
                )
            )
        inner = self.steps(step.pipeline, (*path, "pipeline"), scope, result)
        _check_assertions(step.assertions, inner, scope.document, path)
        return _plain(step, scope, text=text, inner=inner)

    def _use(self, step: Step, path: Path, scope: Scope, result: _Result) -> Step:
        document = scope.document
        with at(document, path, "uses"):
            pipeline = self._library.find(step.uses)
            if step.uses in scope.users or len(scope.users) >= MAX_DEPTH:
                chain = " → ".join((*scope.users, step.uses))
                raise PackageConfigError(
                    f"pipelines use each other in a circle or too deeply: {chain}",
                    hint=f"at most {MAX_DEPTH} levels, none within itself",
                )
        with at(document, path, "with"):
            given = inputs.complete(step.with_, pipeline.steps.inputs, step.uses)
            values = inputs.resolve(given, scope.inputs, scope.known)
        own = {name: values[name] for name in given}
        if pipeline.fetches:
            result.sources.append(Source(step.uses, own))
        inside = replace(
            scope,
            document=pipeline.document,
            inputs=values,
            users=(*scope.users, step.uses),
            fetches=scope.fetches or pipeline.fetches,
            name=step.name or pipeline.steps.name or step.uses,
        )
        with used_at(document, path):
            result.needs += [inside.text(item) for item in step.needs.packages]
            inner = self._inside(pipeline, inside, result)
        return _plain(step, scope, text="", inner=inner, given=own)

    def _inside(self, pipeline: Pipeline, scope: Scope, result: _Result) -> list[Step]:
        top = pipeline.steps
        if top.runs or top.uses or top.if_ or top.needs.packages or top.environment:
            done = self._step(top, (), scope, result)
            return [done] if done is not None else []
        with at(scope.document, ()):
            scope = within(top, scope)
        inner = self.steps(top.pipeline, ("pipeline",), scope, result)
        _check_assertions(top.assertions, inner, scope.document, ())
        return inner


def _plain(
    step: Step,
    scope: Scope,
    *,
    text: str,
    inner: list[Step],
    given: Mapping[str, str] | None = None,
) -> Step:
    """A step as the compiled configuration shows it."""
    return Step.model_construct(
        _fields_set=None,
        if_="",
        name=step.name,
        uses=step.uses,
        with_={name: value for name, value in (given or {}).items() if value},
        runs=text,
        pipeline=inner,
        inputs={},
        needs=Needs(),
        label=step.label,
        assertions=Assertions(),
        working_directory=scope.directory if step.working_directory else "",
        environment={name: scope.environment[name] for name in step.environment},
    )


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")[:80]


def _check_assertions(
    assertions: Assertions, ran: Sequence[Step], document: Document, path: Path
) -> None:
    if len(ran) < assertions.required_steps:
        raise PackageConfigError(
            f"{document.place(path)}: at least {assertions.required_steps} of these steps must "
            f"run, and the conditions of only {len(ran)} hold",
            hint="check the inputs and the architecture that the conditions are about",
        )


def _with_packages(environment: ImageConfiguration, more: Iterable[str]) -> ImageConfiguration:
    packages = environment.contents.packages
    added = [item for item in more if item not in packages]
    contents = environment.contents.model_copy(update={"packages": [*packages, *added]})
    return environment.model_copy(update={"contents": contents})
