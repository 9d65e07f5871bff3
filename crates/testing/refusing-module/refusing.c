/* A PKCS#11 module in front of SoftHSM2 that takes no private keys as they are, as many HSMs do.
 *
 * The file "refusal" beside the configuration of SoftHSM2 says with which answer (hexadecimal, as in
 * PKCS#11), and behind that, if anything is there, that keys are not unwrapped by AES either. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long word;

struct attribute {
    word type;
    void *value;
    word length;
};

struct functions {
    unsigned char version[2];
    /* In the order of the standard. */
    void *all[68];
};

enum { GET_MECHANISM_LIST = 7, CREATE_OBJECT = 20 };

#define CLASS_ATTRIBUTE 0UL
#define PRIVATE_KEY 3UL
#define AES_KEY_WRAP_PAD 0x210AUL

static struct functions *base;
static struct functions changed;

/* The answer; 0 for none. */
static word refusal(int *also_wrapped)
{
    char path[4096];
    const char *configuration = getenv("SOFTHSM2_CONF");
    if (!configuration)
        return 0;
    const char *end = strrchr(configuration, '/');
    int length = end ? (int)(end - configuration) : 0;
    snprintf(path, sizeof path, "%.*s/refusal", length, configuration);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    word answer = 0;
    char also[16] = "";
    int n_read = fscanf(file, "%lx %15s", &answer, also);
    fclose(file);
    *also_wrapped = n_read == 2;
    return n_read > 0 ? answer : 0;
}

static word create_object(word session, struct attribute *attributes, word n, word *object)
{
    int also_wrapped;
    word answer = refusal(&also_wrapped);
    for (word i = 0; answer && i < n; i++)
        if (attributes[i].type == CLASS_ATTRIBUTE && *(word *)attributes[i].value == PRIVATE_KEY)
            return answer;
    word (*create)(word, struct attribute *, word, word *) = base->all[CREATE_OBJECT];
    return create(session, attributes, n, object);
}

static word get_mechanism_list(word slot, word *mechanisms, word *n)
{
    word (*list)(word, word *, word *) = base->all[GET_MECHANISM_LIST];
    word answer = list(slot, mechanisms, n);
    int also_wrapped = 0;
    refusal(&also_wrapped);
    if (answer || !mechanisms || !also_wrapped)
        return answer;
    word kept = 0;
    for (word i = 0; i < *n; i++)
        if (mechanisms[i] != AES_KEY_WRAP_PAD)
            mechanisms[kept++] = mechanisms[i];
    *n = kept;
    return 0;
}

word C_GetFunctionList(struct functions **functions)
{
    if (!base) {
        void *library = dlopen(BASE, RTLD_NOW);
        word (*get)(struct functions **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
        /* CKR_GENERAL_ERROR */
        if (!get || get(&base))
            return 5;
        changed = *base;
        changed.all[CREATE_OBJECT] = create_object;
        changed.all[GET_MECHANISM_LIST] = get_mechanism_list;
    }
    *functions = &changed;
    return 0;
}
