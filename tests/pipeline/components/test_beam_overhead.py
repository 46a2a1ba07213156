"""Beam gets the same answers with less work."""

import concurrent.futures
import types

import apache_beam as beam
import google.protobuf.json_format
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, TypeOptions
from apache_beam.transforms import userstate
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from pipeline.components import beam_overhead

COUNT = ReadModifyWriteStateSpec("count", VarIntCoder())
OF_KEY = beam.DoFn.StateParam(COUNT)


class Stateless(beam.DoFn):
    def process(self, element):
        yield element


class Stateful(beam.DoFn):
    def process(self, element, count=OF_KEY):
        yield element


class Twice(beam.DoFn):
    def process(self, element, count=OF_KEY, again=OF_KEY):
        yield element


def test_a_class_of_functions_has_its_state_and_no_other():
    assert beam_overhead.specs(Stateless()) == (set(), set())
    assert beam_overhead.specs(Stateful()) == ({COUNT}, set())
    assert beam_overhead.specs(Stateful()) == ({COUNT}, set())


def test_an_instance_with_a_method_of_another_class_is_looked_at_itself():
    changed = Stateless()
    changed.process = types.MethodType(Stateful.process, changed)

    assert beam_overhead.specs(Stateless()) == (set(), set())
    assert beam_overhead.specs(changed) == ({COUNT}, set())


def test_a_function_that_asks_for_one_state_twice_is_refused_each_time():
    for _ in range(2):
        with pytest.raises(ValueError, match="duplicate"):
            beam_overhead.specs(Twice())


def test_a_view_of_options_shows_what_was_changed_in_another():
    options = PipelineOptions(["--runner=FnApiRunner", "--no_pipeline_type_check"])

    assert beam_overhead.view(options, StandardOptions).runner == "FnApiRunner"
    assert not beam_overhead.view(options, TypeOptions).pipeline_type_check
    options.view_as(StandardOptions).runner = "DirectRunner"
    assert beam_overhead.view(options, StandardOptions).runner == "DirectRunner"
    assert beam_overhead.view(PipelineOptions([]), StandardOptions).runner != "DirectRunner"


def names_submodules():
    return concurrent.futures.ThreadPoolExecutor, google.protobuf.json_format


def names_a_package():
    return concurrent, userstate, google


@pytest.mark.parametrize("function", [names_submodules, names_a_package])
def test_the_submodules_that_a_function_names_are_found(function):
    named = [concurrent, google, userstate, 1, "text"]
    expected = cloudpickle._find_imported_submodules(function.__code__, named)

    found = beam_overhead.imported_submodules(function.__code__, named)

    assert set(found) == set(expected) and len(found) == len(expected)
    assert bool(found) == (function is names_submodules)
