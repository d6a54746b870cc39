"""Folders around an exported C program, as build systems want them: CMake, Arduino.

Each has an example that draws an image, computes its logits and compares them with those that the
network had here: whoever builds it sees whether their compiler and board compute the same.
"""

from __future__ import annotations

import re

import numpy as np

LAYOUTS = ("files", "cmake", "arduino")
"""files: NAME.c and NAME.h alone."""

NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")
"""What a program may be called: all its names in C begin so."""

MARK = "written by tinycnn"


def drawn_images(n_images: int, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 (N, *shape): the images that the examples draw."""
    state, pixels = 1, []
    for _ in range(n_images * int(np.prod(shape))):
        state = (state * 1664525 + 1013904223) % (1 << 32)
        pixels.append(state >> 24)
    return np.array(pixels, np.uint8).reshape(n_images, *shape)


def files_of(layout: str, name: str, logits: np.ndarray) -> dict[str, str]:
    """The files of a layout besides src/NAME.c and src/NAME.h: path in the folder -> text.

    logits: (K,) of `drawn_images`, int32 from a program in integers alone, else float32
    """
    names = {"name": name, "NAME": name.upper(), "MARK": MARK}
    check = _filled(_CHECK_PARTS, {**names, **_expected(logits)})
    if layout == "cmake":
        return {
            "CMakeLists.txt": _filled(_CMAKE, names),
            "example/main.c": _filled(_MAIN, {**names, "check": check}),
        }
    if layout == "arduino":
        return {
            "library.properties": _filled(_PROPERTIES, names),
            "examples/check/check.ino": _filled(_SKETCH, {**names, "check": check}),
        }
    return {}


def _expected(logits: np.ndarray) -> dict[str, str]:
    if logits.dtype == np.int32:
        numbers, kind = [str(n) for n in logits.tolist()], "int32_t"
        differs = "logits[k] != expected[k]"
    else:
        allowed = f"{1e-4 * max(float(np.abs(logits).max()), 1e-30):.3e}F"
        numbers, kind = [f"{value:.9e}F" for value in logits.tolist()], "float"
        differs = f"logits[k] > expected[k] + {allowed} || logits[k] < expected[k] - {allowed}"
    return {"numbers": ", ".join(numbers), "kind": kind, "differs": differs}


def _filled(template: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        template = template.replace(f"@{key}@", value)
    return template


_CHECK_PARTS = """\
static uint8_t image[@NAME@_HEIGHT_PX * @NAME@_WIDTH_PX * @NAME@_CHANNELS];
static @kind@ logits[@NAME@_N_CLASSES];
static const @kind@ expected[@NAME@_N_CLASSES] = {@numbers@};

/* An image of noise.  Put pixels of your camera here: grey or RGB, 0..255, row by row. */
static void draw_image(void)
{
    uint32_t state = 1;
    for (unsigned k = 0; k < sizeof image; k++) {
        state = state * 1664525u + 1013904223u;
        image[k] = (uint8_t)(state >> 24);
    }
}

/* Whether the logits of that image are those that the network had where it was exported. */
static int same_logits(void)
{
    for (int k = 0; k < @NAME@_N_CLASSES; k++)
        if (@differs@)
            return 0;
    return 1;
}

static int likeliest_class(void)
{
    int likeliest = 0;
    for (int k = 1; k < @NAME@_N_CLASSES; k++)
        likeliest = logits[k] > logits[likeliest] ? k : likeliest;
    return likeliest;
}
"""

_MAIN = """\
/* Classifies an image with @name@, and checks the answer; @MARK@. */
#include "@name@.h"
#include <stdio.h>

@check@
int main(void)
{
    draw_image();
    @name@_logits(image, logits);
    printf("class: %s\\n", @name@_classes[likeliest_class()]);
    printf(same_logits() ? "the logits are right\\n" : "the logits are WRONG\\n");
    return !same_logits();
}
"""

_SKETCH = """\
/* Classifies an image with @name@, and checks the answer; @MARK@. */
#include <@name@.h>

@check@
void setup()
{
    Serial.begin(115200);
}

void loop()
{
    draw_image();
    const unsigned long start = micros();
    @name@_logits(image, logits);
    const unsigned long time = micros() - start;
    Serial.print("class: ");
    Serial.println(@name@_classes[likeliest_class()]);
    Serial.println(same_logits() ? "the logits are right" : "the logits are WRONG");
    Serial.print("microseconds: ");
    Serial.println(time);
    delay(1000);
}
"""

_CMAKE = """\
# A library with the network @name@; @MARK@.
#
#     add_subdirectory(this_folder)
#     target_link_libraries(your_program PRIVATE @name@)
#
# As a component of ESP-IDF it registers itself.
if(ESP_PLATFORM)
  idf_component_register(SRCS "src/@name@.c" INCLUDE_DIRS "src")
  return()
endif()

cmake_minimum_required(VERSION 3.13)
project(@name@ LANGUAGES C)

add_library(@name@ STATIC src/@name@.c)
target_include_directories(@name@ PUBLIC src)
set_target_properties(@name@ PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON)
if(NOT CMAKE_BUILD_TYPE)
  target_compile_options(@name@ PRIVATE -O2)
endif()

# Built by itself, it also makes the example, which ctest runs.
if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
  enable_testing()
  add_executable(@name@_example example/main.c)
  target_link_libraries(@name@_example PRIVATE @name@)
  add_test(NAME @name@_example COMMAND @name@_example)
endif()
"""

_PROPERTIES = """\
name=@name@
version=1.0.0
author=@MARK@
maintainer=@MARK@
sentence=A neural network that classifies images.
paragraph=Needs no other library and allocates no memory. int must have 32 bits.
category=Data Processing
url=https://example.com/@name@
architectures=*
includes=@name@.h
"""
