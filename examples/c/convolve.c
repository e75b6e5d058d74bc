/* A 3 x 3 convolution of a 1 x 1 x 5 x 5 image through the C interface: Dumoulin and Visin's example.
 *
 *     python setup.py build_ext --inplace
 *     cc -std=c11 -Iinclude examples/c/convolve.c build/libfastconv.a -fopenmp -lpthread -lm -o convolve
 *
 * Prints the kernel that ran and 12 12 17 / 10 17 19 / 9 6 14.
 */
#include <fastconv.h>
#include <stdio.h>

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, fc_last_error());
    return 1;
}

int main(void) {
    float x[25] = {3, 3, 2, 1, 0, 0, 0, 1, 3, 1, 3, 1, 2, 2, 3, 2, 0, 0, 2, 2, 2, 0, 0, 0, 1};
    const float kernel[9] = {0, 1, 2, 2, 2, 0, 0, 1, 2};
    float out[9];

    fc_problem problem = fc_problem_default(FC_F32, 2);
    problem.in_size[1] = problem.in_size[2] = 5;
    problem.kernel[1] = problem.kernel[2] = 3;

    fc_plan *plan;
    if (fc_plan_create(&problem, "auto", &plan) != FC_OK)
        return fail("plan");

    /* group, out channel, in channel, depth, height, width: elements, not bytes */
    fc_weight_view view = {.data = kernel, .stride = {9, 9, 9, 9, 3, 1}};
    fc_weights *weights;
    if (fc_weights_pack(plan, &view, NULL, 0, &weights) != FC_OK)
        return fail("weights");

    /* batch, channel, depth, height, width */
    fc_tensors tensors = {.x = {.data = x, .stride = {25, 25, 25, 5, 1}},
                          .out = {.data = out, .stride = {9, 9, 9, 3, 1}}};
    if (fc_plan_run(plan, weights, &tensors, 0) != FC_OK)
        return fail("run");

    printf("fastconv %s, %s\n", fc_version(), fc_plan_describe(plan).kernel);
    for (int row = 0; row < 3; row++)
        printf("%g %g %g\n", out[3 * row], out[3 * row + 1], out[3 * row + 2]);

    problem.kernel[2] = 0;
    fc_plan *refused = NULL;
    if (fc_plan_create(&problem, "auto", &refused) != FC_INVALID_ARGUMENT)
        return 1;
    printf("refused: %s\n", fc_last_error());

    fc_weights_free(weights);
    fc_plan_free(plan);
    return 0;
}
