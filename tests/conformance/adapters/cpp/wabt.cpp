// Adapter for the interpreter of wabt, the WebAssembly Binary Toolkit.
#include <wabt/binary-reader.h>
#include <wabt/config.h>
#include <wabt/error-formatter.h>
#include <wabt/interp/binary-reader-interp.h>
#include <wabt/interp/interp.h>

#include "protocol.hpp"

using namespace protocol;
namespace interp = wabt::interp;

namespace {

const std::pair<const char *, const char *> kTraps[] = {
    {"unreachable", "unreachable"},          {"out of bounds", "out-of-bounds"}, {"integer", "integer"},
    {"call stack exhausted", "stack"}, {"", "other"},
};

interp::Value from_text(wabt::Type type, const std::string &text) {
  const auto [kind, bits] = parse(text);
  if (kind != type.GetName()) throw std::invalid_argument("`" + text + "` is no " + type.GetName());
  if (type == wabt::Type::I32) return interp::Value::Make(static_cast<uint32_t>(bits));
  if (type == wabt::Type::I64) return interp::Value::Make(bits);
  if (type == wabt::Type::F32) return interp::Value::Make(same_bits<float>(static_cast<uint32_t>(bits)));
  if (type == wabt::Type::F64) return interp::Value::Make(same_bits<double>(bits));
  return interp::Value::Make(interp::Ref::Null);
}

std::string to_text(wabt::Type type, interp::Value value) {
  const std::string kind = type.GetName();
  if (type == wabt::Type::I32) return show(kind, value.Get<uint32_t>());
  if (type == wabt::Type::I64) return show(kind, value.Get<uint64_t>());
  if (type == wabt::Type::F32) return show(kind, same_bits<uint32_t>(value.Get<float>()));
  if (type == wabt::Type::F64) return show(kind, same_bits<uint64_t>(value.Get<double>()));
  if (type == wabt::Type::ExternRef && value.Get<interp::Ref>() == interp::Ref::Null) return "externref:null";
  throw std::invalid_argument("the value has no form in the protocol");
}

class Wabt final : public Instance {
 public:
  explicit Wabt(const Bytes &binary) {
    wabt::Errors errors;
    interp::ModuleDesc description;
    const wabt::ReadBinaryOptions options;
    const auto read = interp::ReadBinaryInterp("module", binary.data(), binary.size(), options, &errors, &description);
    if (wabt::Failed(read)) throw reject("compile", errors.empty() ? "malformed" : errors.front().message);
    if (!description.imports.empty()) throw reject("link", "the module has imports");
    const auto module = interp::Module::New(store_, description);
    interp::Trap::Ptr trapped;
    instance_ = interp::Instance::Instantiate(store_, module.ref(), {}, &trapped);
    if (!instance_) throw reject("start", trapped ? trapped->message() : "refused");
    const auto &types = module->export_types();
    for (size_t i = 0; i < types.size(); i++) exports_[types[i].name] = instance_->exports()[i];
  }

  std::vector<std::string> call(const std::string &name, const std::vector<std::string> &arguments,
                                uint64_t) override {
    const auto function = find<interp::Func>(name);
    const auto &type = function->type();
    if (type.params.size() != arguments.size()) throw std::invalid_argument("wrong count of arguments");
    interp::Values values, results;
    for (size_t i = 0; i < arguments.size(); i++) values.push_back(from_text(type.params[i], arguments[i]));
    interp::Trap::Ptr trapped;
    if (wabt::Failed(function->Call(store_, values, results, &trapped))) {
      const auto message = trapped->message();
      const auto is_kind = [&](const auto &each) { return message.find(each.first) != std::string::npos; };
      throw trap(std::find_if(std::begin(kTraps), std::end(kTraps), is_kind)->second, message);
    }
    std::vector<std::string> shown;
    for (size_t i = 0; i < results.size(); i++) shown.push_back(to_text(type.results[i], results[i]));
    return shown;
  }

  uint64_t pages() override { return memory()->PageSize(); }

  bool grow(uint32_t pages) override { return wabt::Succeeded(memory()->Grow(pages)); }

  void read(uint64_t address, Bytes &bytes) override {
    std::memcpy(bytes.data(), memory()->UnsafeData() + address, bytes.size());
  }

  void write(uint64_t address, const Bytes &bytes) override {
    std::memcpy(memory()->UnsafeData() + address, bytes.data(), bytes.size());
  }

  std::string global(const std::string &name) override {
    const auto global = find<interp::Global>(name);
    return to_text(global->type().type, global->Get());
  }

 private:
  template <typename T>
  interp::RefPtr<T> find(const std::string &name) {
    const auto found = exports_.find(name);
    if (found == exports_.end() || !store_.Is<T>(found->second))
      throw std::invalid_argument("no such export `" + name + "`");
    return store_.UnsafeGet<T>(found->second);
  }

  interp::Memory::Ptr memory() { return find<interp::Memory>("memory"); }

  interp::Store store_;
  interp::Instance::Ptr instance_;
  std::map<std::string, interp::Ref> exports_;
};

}  // namespace

int main() {
  serve({{"adapter", "wabt"},
         {"runtime", "wabt"},
         {"version", WABT_VERSION_STRING},
         {"capabilities", {"externref", "grow", "resume-after-trap"}}},
        [](const Bytes &binary) -> Maker { return [binary] { return std::make_unique<Wabt>(binary); }; });
}
