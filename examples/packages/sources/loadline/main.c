#include <stdio.h>
#include <stdlib.h>
#include <tonnage.h>

int main(int argc, char **argv)
{
    char *end;
    double volume;

    if (argc != 2) {
        fprintf(stderr, "usage: loadline VOLUME (cubic metres)\n");
        return 2;
    }
    volume = strtod(argv[1], &end);
    if (*argv[1] == '\0' || *end != '\0' || volume < 0) {
        fprintf(stderr, "loadline: '%s' is no volume\n", argv[1]);
        return 2;
    }
    printf("%.0f\n", tonnage_gross(volume));
    return 0;
}
